// Algorithm 1 in slow motion: a GAN on a line, trained in the page, one line of the listing at a time.
// The nets have tanh units; noise is uniform on (-1, 1), as in Figure 1; steps are sized by Adam, as in chapter 1.
live("algorithm-1", (stage, kit) => {
  const SIZES = [1, 12, 12, 1], BATCH = 64, RATE = 0.01, ADAM = { first: 0.5, second: 0.99, tiny: 1e-8 };
  const PACES = { tenth: 0.1, same: 1, triple: 3 }; // how fast G learns, beside D
  const normal = (x, mean, width) => Math.exp(-(((x - mean) / width) ** 2) / 2) / (width * Math.sqrt(2 * Math.PI));
  const pData = x => 0.6 * normal(x, -0.7, 0.5) + 0.4 * normal(x, 1, 0.4); // chapter 1's coins

  // Random numbers by a seed (mulberry32), so that a game can be had again.
  const stream = seed => {
    let state = seed >>> 0;
    const uniform = () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
    const gauss = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    return { uniform, gauss };
  };
  const many = draw => Float64Array.from({ length: BATCH }, draw);

  // A net is a list of layers, each with weights (out, in) and biases (out), and Adam's two means of each.
  const net = ({ gauss }) => SIZES.slice(1).map((outputs, l) => {
    const inputs = SIZES[l], last = l === SIZES.length - 2;
    const weights = Float64Array.from({ length: outputs * inputs }, () => gauss() / Math.sqrt(inputs));
    const biases = Float64Array.from({ length: outputs }, () => (last ? 0 : gauss()));
    const means = () => [weights, biases].map(p => new Float64Array(p.length));
    return { inputs, outputs, parameters: [weights, biases], first: means(), second: means() };
  });
  // What each layer gets, and in the end the net's answers.
  const forward = (layers, x) => layers.reduce((values, { inputs, outputs, parameters: [w, b] }, l) => {
    const before = values[l], after = new Float64Array(x.length * outputs);
    for (let i = 0; i < x.length; i++) for (let j = 0; j < outputs; j++) {
      let sum = b[j];
      for (let q = 0; q < inputs; q++) sum += w[j * inputs + q] * before[i * inputs + q];
      after[i * outputs + j] = l < layers.length - 1 ? Math.tanh(sum) : sum;
    }
    return [...values, after];
  }, [x]);
  const answers = (layers, x) => forward(layers, x)[layers.length];
  // From the slopes of a cost in the answers, back to those in the parameters and in the inputs.
  const backward = (layers, values, slopes) => {
    const gradient = layers.map(layer => layer.parameters.map(p => new Float64Array(p.length)));
    for (let l = layers.length - 1; l >= 0; l--) {
      const { inputs, outputs, parameters: [w] } = layers[l], [gw, gb] = gradient[l];
      const before = values[l], back = new Float64Array(before.length);
      for (let i = 0; i < values[0].length; i++) for (let j = 0; j < outputs; j++) {
        const slope = slopes[i * outputs + j];
        gb[j] += slope;
        for (let q = 0; q < inputs; q++) {
          gw[j * inputs + q] += slope * before[i * inputs + q];
          back[i * inputs + q] += slope * w[j * inputs + q];
        }
      }
      if (l) before.forEach((tanh, e) => { back[e] *= 1 - tanh * tanh; });
      slopes = back;
    }
    return { gradient, inputs: slopes };
  };
  const adam = (layers, gradient, rate, t) => layers.forEach((layer, l) => layer.parameters.forEach((p, which) => {
    const m = layer.first[which], v = layer.second[which], g = gradient[l][which];
    for (let e = 0; e < p.length; e++) {
      m[e] = ADAM.first * m[e] + (1 - ADAM.first) * g[e];
      v[e] = ADAM.second * v[e] + (1 - ADAM.second) * g[e] ** 2;
      const root = Math.sqrt(v[e] / (1 - ADAM.second ** t)) + ADAM.tiny;
      p[e] -= rate * m[e] / (1 - ADAM.first ** t) / root;
    }
  }));
  const sigmoid = l => 1 / (1 + Math.exp(-l));

  // The game: an iterator that stops after each line of the listing, and tells which.
  const start = ({ seed, k, cost, pace }) => {
    const random = stream(seed), game = { G: net(random), D: net(random), round: 0, step: 0, line: 0 };
    const noise = () => many(() => 2 * random.uniform() - 1);
    const coin = () => (random.uniform() < 0.6 ? -0.7 + 0.5 * random.gauss() : 1 + 0.4 * random.gauss());
    let ascents = 0;
    game.lines = (function* () {
      for (;;) {
        for (game.step = 1; game.step <= k; game.step++) {
          game.z = noise();
          game.fake = answers(game.G, game.z);
          yield game.line = 3;
          game.x = many(coin);
          yield game.line = 4;
          const real = forward(game.D, game.x), false_ = forward(game.D, game.fake), end = SIZES.length - 1;
          // The slopes of -log D(x) and of -log(1 - D(G(z))) in D's logit.
          const up = backward(game.D, real, real[end].map(l => -sigmoid(-l) / BATCH)).gradient;
          const down = backward(game.D, false_, false_[end].map(l => sigmoid(l) / BATCH)).gradient;
          up.forEach((layer, l) => layer.forEach((p, which) => p.forEach((_, e) => { p[e] += down[l][which][e]; })));
          adam(game.D, up, RATE, ++ascents);
          yield game.line = 5;
        }
        game.z = noise();
        const made = forward(game.G, game.z), end = SIZES.length - 1;
        game.fake = made[end];
        yield game.line = 7;
        const judged = forward(game.D, game.fake);
        // The slopes of log(1 - D(G(z))), or of -log D(G(z)).
        const slopes = judged[end].map(l => -sigmoid(cost === "minimax" ? l : -l) / BATCH);
        game.round++;
        adam(game.G, backward(game.G, made, backward(game.D, judged, slopes).inputs).gradient, PACES[pace] * RATE, game.round);
        yield game.line = 8;
      }
    })();
    return game;
  };

  // p_g without the noise of sampling: where 1,000 evenly spread z go, in 80 bins; and its divergence from the data.
  const BINS = 80, BIN = 8 / BINS, even = n => Float64Array.from({ length: n }, (_, i) => (2 * i + 1) / n - 1);
  const SPREAD = even(1000), ARROWS = even(24);
  const DATA = Float64Array.from({ length: BINS }, (_, b) =>
    even(8).reduce((sum, at) => sum + pData(-4 + (b + (at + 1) / 2) * BIN) * BIN / 8, 0));
  const histogram = G => {
    const bins = new Float64Array(BINS);
    for (const x of answers(G, SPREAD)) {
      bins[Math.max(0, Math.min(BINS - 1, Math.floor((x + 4) / BIN)))] += 1 / SPREAD.length;
    }
    return bins;
  };
  const part = (p, q) => (p > 0 ? p / 2 * Math.log(2 * p / (p + q)) : 0);
  const divergence = bins => bins.reduce((sum, q, b) => sum + part(DATA[b], q) + part(q, DATA[b]), 0);

  const DEFAULTS = { seed: 1, k: 1, cost: "non-saturating", pace: "tenth", round: 0 }, LAST = 2000, GOAL = 0.05;
  const LINES = {
    2: "for k steps:", 3: "  draw noise z, and forge G(z)", 4: "  draw coins x from the data",
    5: "  D ascends: up at the coins, down at the forgeries", 7: "draw fresh noise z, and forge G(z)",
    8: "G descends: its forgeries slide to where D is higher",
  };
  let state, game, history, before, bins;

  const settle = () => {
    const told = kit.read(DEFAULTS), among = (value, list, other) => (list.includes(value) ? value : other);
    state = { seed: Math.max(0, Math.floor(told.seed)), k: among(told.k, [1, 2, 5, 10], 1),
      cost: among(told.cost, ["minimax", "non-saturating"], DEFAULTS.cost), pace: among(told.pace, Object.keys(PACES), DEFAULTS.pace),
      round: Math.max(0, Math.min(LAST, Math.floor(told.round))) };
    again(state.round);
  };
  const again = rounds => {
    game = stage.game = start(state);
    before = null;
    bins = histogram(game.G);
    history = [divergence(bins)];
    while (game.round < rounds) oneRound();
    keep();
  };
  const note = () => {
    bins = histogram(game.G);
    history[game.round] = divergence(bins);
  };
  const oneLine = () => {
    before = { d: answers(game.D, GRID), bins };
    game.lines.next();
    if (game.line === 8) {
      before.fake = game.fake;
      game.fake = answers(game.G, game.z);
      note();
    }
  };
  const oneRound = () => { do game.lines.next(); while (game.line !== 8); note(); before = null; };
  const keep = () => { state.round = game.round; kit.keep(state, DEFAULTS); show(); };

  const EDGE = 14, GRID = Float64Array.from({ length: 161 }, (_, i) => i / 20 - 4), BASE = 215, HEIGHT = 330;
  const X_LINE = 244, Z_LINE = 312;
  const steps = (across, up, values) => "M" + Array.from(values, (q, b) => [b, b + 1].map(edge => across(edge * BIN - 4).toFixed(1))
    .join(` ${up(q / BIN).toFixed(1)}H`)).join("L");
  const drawing = kit.plot({
    alt: "", height: HEIGHT,
    paint: (svg, width) => {
      const across = kit.scale(-4, 4, EDGE, width - EDGE), from = kit.scale(-1, 1, EDGE, width - EDGE);
      const up = v => Math.max(kit.scale(0, 1.15, BASE, 26)(v), 20);
      const line = values => kit.curve(Array.from(GRID, across), Array.from(values, up));
      const path = (kind, d) => svg.append(kit.draw("path", { class: kind, d }));
      const text = (x, y, anchor, kind, ...words) =>
        svg.append(kit.draw("text", { x, y, "text-anchor": anchor, class: kind }, ...words));
      const inside = x => Math.max(-4, Math.min(4, x));
      const bars = (kind, values, y) => path(kind, Array.from(values, x => `M${across(inside(x)).toFixed(1)} ${y}v-9`).join(""));
      path("axis", `M${EDGE} ${BASE}H${width - EDGE}M${EDGE} ${X_LINE}H${width - EDGE}M${EDGE} ${Z_LINE}H${width - EDGE}`);
      path("axis half", `M${EDGE} ${up(0.5)}H${width - EDGE}`);
      path("p-g-area", `${steps(across, up, bins)}V${BASE}H${EDGE}Z`);
      if (game.line === 8 && before) path("p-g ghost", steps(across, up, before.bins));
      if (game.line === 5 && before) path("d ghost", line(before.d.map(sigmoid)));
      path("p-data", line(GRID.map(pData)));
      path("p-g", steps(across, up, bins));
      path("d", line(answers(game.D, GRID).map(sigmoid)));
      const slow = before !== null && game.line > 0, z = slow ? game.z : ARROWS;
      const ends = slow ? game.fake : answers(game.G, ARROWS);
      path(slow ? "p-g arrows" : "arrows",
        Array.from(z, (v, i) => `M${from(v).toFixed(1)} ${Z_LINE}L${across(inside(ends[i])).toFixed(1)} ${X_LINE + 2}`).join(""));
      if (slow) bars("p-g ticks", ends, X_LINE);
      if (slow && (game.line === 4 || game.line === 5)) bars("ticks", game.x, BASE + 10);
      if (slow && game.line === 8) {
        path("accent", Array.from(ends, (x, i) => `M${across(inside(before.fake[i])).toFixed(1)} ${X_LINE - 5}H${across(inside(x)).toFixed(1)}`).join(""));
      }
      const up3 = word => kit.draw("tspan", { dy: 3, class: "sub" }, word);
      text(EDGE, 14, "start", "", "data, dotted");
      text(width / 2 - 4, 14, "middle", "p-g", "forgeries p", up3("g"));
      text(width - EDGE, 14, "end", "d", "D, dashed");
      text(width - EDGE, up(0.5) - 4, "end", "small", "½");
      text(EDGE, X_LINE - 4, "start", "small", "x");
      text(EDGE, Z_LINE + 14, "start", "small", "z, evenly between −1 and 1");
    },
  });
  const course = kit.plot({
    alt: "", height: 110,
    paint: (svg, width) => {
      const across = kit.scale(0, Math.max(300, game.round), 44, width - EDGE);
      const height = v => kit.scale(Math.log(0.005), Math.log(0.7), 88, 8)(Math.log(Math.max(v, 0.005)));
      const rounds = Object.keys(history).map(Number);
      svg.append(
        kit.draw("path", { class: "axis", d: `M44 8V88H${width - EDGE}` }),
        kit.draw("path", { class: "p-g half", d: `M44 ${height(GOAL)}H${width - EDGE}` }),
        kit.draw("path", { class: "accent", d: kit.curve(rounds.map(across), rounds.map(n => height(history[n]))) }),
        ...[[0.5, "0.5"], [GOAL, "0.05"], [0.005, "0.005"]].map(([v, word]) =>
          kit.draw("text", { class: "small", x: 40, y: height(v) + 4, "text-anchor": "end" }, word)),
        kit.draw("text", { class: "small", x: width - EDGE, y: 104, "text-anchor": "end" }, `round ${Math.max(300, game.round)}`),
        kit.draw("text", { class: "accent", x: 52, y: 104 }, "JSD, in nats"),
      );
    },
  });

  const listing = Object.fromEntries(Object.entries(LINES).map(([number, words]) =>
    [number, kit.make("div", { class: words.startsWith(" ") ? "inner" : "" }, kit.make("span", {}, number), words.trim())]));
  const goal = kit.goal("make the forgeries cover both bumps: JSD below 0.05.");
  const said = kit.make("p", { class: "live-figures" });
  const show = () => {
    const jsd = history[game.round];
    stage.now = { jsd, bins, history };
    const place = game.line === 0 ? "" : `, line ${game.line}${game.line < 6 ? `, step ${game.step} of ${state.k}` : ""}`;
    said.textContent = `Round ${game.round}${place}. JSD ${jsd.toFixed(3)} nats.`;
    Object.entries(listing).forEach(([number, element]) => {
      if (Number(number) === game.line && before) element.setAttribute("aria-current", "step");
      else element.removeAttribute("aria-current");
    });
    drawing.say(`The data's two bumps, a histogram of what G makes, and D, after ${game.round} rounds. JSD ${jsd.toFixed(3)} nats.`);
    course.say(`JSD over ${game.round} rounds, now ${jsd.toFixed(3)} nats; the goal is 0.05.`);
    goal.check(jsd < GOAL, state.pace === "tenth"
      ? "Reached. Now let G learn 3 times as fast as D, and watch it lose them."
      : "Reached. Will it stay?");
    [drawing, course].forEach(plot => plot.repaint());
  };

  let tempo = "round", ticks = 0;
  const play = kit.player({
    milliseconds: 60,
    step: () => {
      if (game.round >= LAST) return false;
      if (tempo === "line") {
        if (!kit.calm && ticks++ % 15) return true;
        oneLine();
      } else for (let n = tempo === "ten" ? 10 : 1; n && game.round < LAST; n--) oneRound();
      keep();
      return true;
    },
  });
  const renew = part => { Object.assign(state, part); controls.forEach(([key, element]) => element.set(state[key])); again(0); };
  settle();
  const seed = kit.button("Another start", () => renew({ seed: state.seed + 1 }));
  const controls = [
    ["k", kit.choice({ label: "k", options: { 1: "1", 2: "2", 5: "5", 10: "10" }, value: state.k, change: v => renew({ k: Number(v) }) })],
    ["cost", kit.choice({ label: "G's cost", options: { minimax: "log(1 − D)", "non-saturating": "−log D" }, value: state.cost, change: cost => renew({ cost }) })],
    ["pace", kit.choice({ label: "G learns", options: { tenth: "a tenth as fast as D", same: "as fast", triple: "3 times as fast" }, value: state.pace, change: pace => renew({ pace }) })],
  ];
  const speed = kit.choice({ label: "at a time", options: { line: "a line", round: "a round", ten: "10 rounds" }, value: tempo, change: value => { tempo = value; ticks = 0; } });
  stage.append(goal,
    kit.make("div", { class: "live-bar" }, play,
      kit.button("Next line", () => { play.stop(); oneLine(); keep(); }),
      kit.button("Start again", () => { play.stop(); again(0); }), seed, speed),
    kit.make("div", { class: "live-lines" }, ...Object.values(listing)),
    drawing, said, course, kit.make("div", { class: "live-bar" }, ...controls.map(([, element]) => element)),
    kit.make("p", { class: "live-hint" }, "A change of k, of the cost or of G's speed begins the same game anew: same coins, same noise, same first weights."));
  show();
  return () => { play.stop(); settle(); controls.forEach(([key, element]) => element.set(state[key])); };
});
