// The generator of 5.1 in the reader's hands: ten digits, a walk through them, four directions of z, and what the
// discriminator says. The weights come as a script of their own, on a click.
live("generator", (stage, kit) => {
  const { make, scale } = kit;
  const usual = { seed: 2014, at: 0, a: 0, b: 0, c: 0, d: 0 };
  const axes = ["a", "b", "c", "d"], reach = 6, side = 28, edge = Math.sqrt(3);
  let state = kit.read(usual), net = null, codes = [];

  // ---- The nets. Their weights are a text, 15 bits a letter: numbers, then integers in Rice's code.
  const decode = text => {
    let place = 0, word = 0, left = 0;
    const bit = () => {
      if (!left) { word = text.charCodeAt(place++) - 0x4e00; left = 15; }
      return word >> --left & 1;
    };
    const bits = n => {
      let value = 0;
      while (n) {
        if (!left) { word = text.charCodeAt(place++) - 0x4e00; left = 15; }
        const take = Math.min(n, left);
        left -= take; n -= take;
        value = value << take | word >> left & (1 << take) - 1;
      }
      return value;
    };
    const view = new DataView(new ArrayBuffer(4));
    const floats = n => Float32Array.from({ length: n }, () => (view.setInt32(0, bits(32)), view.getFloat32(0)));
    const extra = floats(bits(16));
    const layers = [];
    for (let number = 0; number < 6; number++) {
      const out = bits(16), into = bits(16), rows = floats(out), columns = floats(into), bias = floats(out);
      const weights = new Float32Array(out * into); // column after column
      for (let j = 0; j < into; j++) {
        const k = bits(4);
        for (let i = 0; k < 15 && i < out; i++) {
          let high = 0;
          while (bit()) high++;
          const folded = high * 2 ** k + bits(k);
          weights[j * out + i] = (folded % 2 ? -(folded + 1) / 2 : folded / 2) * rows[i] * columns[j];
        }
      }
      layers.push({ out, into, bias, weights });
    }
    const affine = ({ out, into, bias, weights }, x) => {
      const y = Float64Array.from(bias);
      for (let j = 0; j < into; j++) {
        const factor = x[j], start = j * out;
        if (factor) for (let i = 0; i < out; i++) y[i] += factor * weights[start + i];
      }
      return y;
    };
    const sigmoid = v => 1 / (1 + Math.exp(-v));
    const rectify = v => v > 0 ? v : 0;
    const largest = (y, pieces) => Float64Array.from({ length: y.length / pieces }, (_, unit) => {
      let top = -Infinity;
      for (let i = unit; i < y.length; i += y.length / pieces) top = Math.max(top, y[i]);
      return top;
    });
    const size = layers[0].into;
    return {
      size,
      real: extra[extra.length - 1],
      directions: axes.map((_, k) => extra.subarray(k * size, (k + 1) * size)),
      generate: z => affine(layers[2], affine(layers[1], affine(layers[0], z).map(rectify)).map(rectify)).map(sigmoid),
      judge: x => sigmoid(affine(layers[5], largest(affine(layers[4], largest(affine(layers[3], x), 5)), 5))[0]),
    };
  };

  // ---- Codes: uniform with variance 1, as in training, from a small generator of random numbers with a seed.
  const random = seed => () => {
    seed = seed + 0x6d2b79f5 | 0;
    let t = Math.imul(seed ^ seed >>> 15, seed | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return ((t ^ t >>> 14) >>> 0) / 2 ** 32;
  };
  const drawn = () => {
    const next = random(state.seed);
    return Array.from({ length: 10 }, () => Float64Array.from({ length: net.size }, () => edge * (2 * next() - 1)));
  };
  const current = () => {
    const from = Math.floor(state.at) % 10, part = state.at - Math.floor(state.at);
    return codes[from].map((value, i) => {
      const along = (1 - part) * value + part * codes[(from + 1) % 10][i];
      const moved = axes.reduce((sum, name, k) => sum + state[name] * net.directions[k][i], along);
      return Math.min(edge, Math.max(-edge, moved)); // no code lies outside
    });
  };

  // ---- What is seen.
  const paint = (canvas, x) => {
    const image = canvas.getContext("2d").createImageData(side, side);
    x.forEach((value, i) => image.data.set([value * 255, value * 255, value * 255, 255], 4 * i));
    canvas.getContext("2d").putImageData(image, 0, 0);
  };
  const percent = p => `${(100 * p).toFixed(0)}\u00a0%`;
  const screen = () => make("canvas", { width: side, height: side, "aria-hidden": "true" });

  const large = screen();
  const words = make("p", { class: "live-figures", "aria-live": "polite" });
  const bar = kit.plot({ alt: "", height: 46, paint: (svg, width) => {
    const x = scale(0, 1, 8, width - 8), now = net ? net.believed : 0;
    svg.append(kit.draw("path", { class: "axis", d: `M${x(0)} 18H${x(1)}` }),
      kit.draw("path", { class: "d", d: `M${x(0)} 18H${x(now)}`, style: "stroke-width: 7" }),
      ...[[0, "start"], [.5, "middle"], [1, "end"]].map(([p, anchor]) =>
        kit.draw("text", { x: x(p), y: 42, "text-anchor": anchor }, `${["fake", "1/2", "real"][2 * p]}`)));
    if (net) svg.append(kit.draw("path", { d: `M${x(net.real)} 7V29` }));
  } });
  const goal = kit.goal("move z until D says real with more than 60\u00a0%.");
  const show = () => {
    const x = net.generate(current());
    net.believed = net.judge(x);
    paint(large, x);
    large.dataset.believed = net.believed;
    words.textContent = `D says: real with ${percent(net.believed)}. (Of real test digits it says so with`
      + ` ${percent(net.real)} on average: the mark.)`;
    bar.say(`D says real with ${percent(net.believed)}`);
    bar.repaint();
    goal.check(net.believed > .6, "Reached: it takes this one for real.");
    const near = Math.round(state.at) % 10;
    row.childNodes.forEach((one, i) => one.setAttribute("aria-pressed", String(i === near)));
    kit.keep(state, usual);
  };
  const row = make("div", { class: "live-digits" });
  const redraw = () => {
    codes = drawn();
    row.replaceChildren(...codes.map((z, i) => {
      const x = net.generate(z), canvas = screen(), believed = percent(net.judge(x));
      const one = kit.button("", () => { player.stop(); go({ at: i, a: 0, b: 0, c: 0, d: 0 }); });
      one.setAttribute("aria-label", `digit ${i + 1} of ten: D says real with ${believed}`);
      one.append(canvas, make("span", {}, believed));
      paint(canvas, x);
      return one;
    }));
  };
  const sliders = axes.map((name, k) => kit.slider({
    label: `direction ${k + 1}`, min: -reach, max: reach, step: .1, value: state[name], text: v => v.toFixed(1),
    change: v => { state[name] = v; show(); },
  }));
  const where = v => v % 1 ? `${Math.floor(v) + 1} to ${(Math.floor(v) + 1) % 10 + 1}` : `digit ${v % 10 + 1}`;
  const walk = kit.slider({ label: "walk", min: 0, max: 10, step: .05, value: state.at, text: where,
    change: v => { player.stop(); state.at = v; show(); } });
  const go = change => {
    Object.assign(state, change);
    walk.set(state.at);
    axes.forEach((name, k) => sliders[k].set(state[name]));
    show();
  };
  const player = kit.player({ words: "Walk", milliseconds: 60,
    step: () => go({ at: state.at >= 10 ? .05 : Math.round(20 * state.at + 1) / 20 }) });
  const again = kit.button("Draw ten others", () => {
    player.stop();
    state.seed = (state.seed + 1) % 10000;
    redraw();
    go({ at: 0, a: 0, b: 0, c: 0, d: 0 });
  });
  const ready = () => {
    net = decode(window.generatorWeights);
    window.generatorWeights = null;
    stage.net = net; // for a console, or a test, to ask
    const bars = make("div", {}, words, bar, goal, make("div", { class: "live-bar" }, player, walk), ...sliders);
    place.classList.remove("live-waits");
    stage.replaceChildren(row, make("div", { class: "live-bar" }, again), make("div", { class: "live-now" }, large, bars));
    redraw();
    go({});
    row.firstChild.focus({ preventScroll: true });
  };

  const place = stage.parentElement, size = place.dataset.size;
  place.classList.add("live-waits"); // the still picture stays until the nets are there
  const open = kit.button(`Draw ten digits${size ? ` (loads ${size})` : ""}`, () => {
    open.disabled = true;
    note.textContent = "Loading the nets ...";
    kit.load("generator-weights.js").then(() => setTimeout(ready), error => {
      open.disabled = false;
      note.textContent = `${error.message}: build the book, which writes it.`;
    });
  });
  const note = make("p", { class: "live-figures", role: "status" });
  stage.append(make("div", { class: "live-bar" }, open), note);
  return () => { state = kit.read(usual); if (net) { redraw(); go({}); } };
});
