// Theorem 1 in the reader's hands: p_g is dragged, or drawn, and D*, C(G) and the Jensen-Shannon divergence follow.
// The formulas are those of gansrc/theory.py, on a grid that is wider than what is shown.
live("theorem-1", (stage, kit) => {
  const dx = 0.01, x = Float64Array.from({ length: 2401 }, (_, i) => (i - 1200) / 100);
  const bell = (v, mean, width) => Math.exp(-(((v - mean) / width) ** 2) / 2) / (width * Math.sqrt(2 * Math.PI));
  const mixture = bells => x.map(v => bells.reduce((sum, [share, ...one]) => sum + share * bell(v, ...one), 0));
  const COINS = { mean: -0.7, width: 0.5, weight: 0.4, mean2: 1, width2: 0.4 }; // the data: chapter 1's coins
  const bumps = s => [[1 - s.weight, s.mean, s.width], [s.weight, s.mean2, s.width2]];
  const pData = mixture(bumps(COINS));

  // What is drawn by hand is a row of narrow bells. In the address each has two letters for its height, in thousandths.
  const KNOTS = Array.from({ length: 33 }, (_, i) => i / 4 - 4), NARROW = 0.2, HIGHEST = 1150;
  const heights = text => KNOTS.map((_, i) => Math.min(parseInt(text.slice(2 * i, 2 * i + 2), 36) || 0, HIGHEST));
  const written = list => list.map(h => Math.round(h).toString(36).padStart(2, "0")).join("");
  const drawnBells = list => {
    const sum = list.reduce((a, b) => a + b, 0);
    return KNOTS.map((knot, i) => [sum ? list[i] / sum : 1 / KNOTS.length, knot, NARROW]);
  };

  const xlogy = (a, b) => (a > 0 ? a * Math.log(b) : 0);
  // Everything that follows from p_g: D* of eq. (2), and at each point what eq. (4) and the divergence add up.
  const follow = pG => {
    const total = pG.map((q, i) => q + pData[i]);
    const d = total.map((t, i) => pData[i] / t);
    const c = total.map((t, i) => xlogy(pData[i], d[i]) + xlogy(pG[i], pG[i] / t));
    const jsd = total.map((t, i) => {
      const u = t > 0 ? (pData[i] - pG[i]) / t : 0;
      return [u, -u].reduce((sum, v) => sum + (v > -1 ? (1 + v) * Math.log1p(v) : 0), 0) * t / 4;
    });
    const integral = values => values.reduce((a, b) => a + b, 0) * dx;
    return { x, pData, pG, d, cPoint: c, jsdPoint: jsd, c: integral(c), jsd: integral(jsd) };
  };

  const DEFAULTS = { mean: -1.8, width: 0.6, weight: 0, mean2: 2.4, width2: 0.6, drawn: "" };
  const LIMITS = { mean: [-3, 3], width: [0.36, 1.5], weight: [0, 1], mean2: [-3, 3], width2: [0.36, 1.5] };
  const LOWEST = -Math.log(4), GOAL = -1.3;
  const clamp = (v, low, high) => Math.max(low, Math.min(high, v));
  const words = v => v.toFixed(2).replace("-", "−");
  const longer = v => v.toFixed(4).replace("-", "−");
  let state = kit.read(DEFAULTS), now, pencil = 16;

  const shown = [...x.keys()].filter(i => i % 2 === 0 && Math.abs(x[i]) <= 4.001);
  const EDGE = 14;
  const acrossOf = width => kit.scale(-4, 4, EDGE, width - EDGE);
  const line = (across, down, values) =>
    kit.curve(shown.map(i => across(x[i])), shown.map(i => clamp(down(values[i]), -20, 900)));
  const TOP = 1.2, HEIGHT = 270, BASE = HEIGHT - 22, up = kit.scale(0, TOP, BASE, 26);

  const densities = kit.plot({
    alt: "", height: HEIGHT,
    paint: (svg, width) => {
      const across = acrossOf(width);
      const filled = `${line(across, up, now.pG)}L${across(4)} ${BASE}L${across(-4)} ${BASE}Z`;
      svg.append(
        kit.draw("path", { class: "axis", d: `M${EDGE} ${BASE}H${width - EDGE}` }),
        kit.draw("path", { class: "axis half", d: `M${EDGE} ${up(0.5)}H${width - EDGE}` }),
        kit.draw("text", { class: "small", x: width - EDGE, y: up(0.5) - 4, "text-anchor": "end" }, "D = ½"),
        kit.draw("path", { class: "p-g-area", d: filled }),
        kit.draw("path", { class: "p-data", d: line(across, up, pData) }),
        kit.draw("path", { class: "p-g", d: line(across, up, now.pG) }),
        kit.draw("path", { class: "d", d: line(across, up, now.d) }),
        kit.draw("text", { x: EDGE, y: 14 }, "data p", kit.draw("tspan", { dy: 3, class: "sub" }, "data"),
          kit.draw("tspan", { dy: -3 }, ", dotted")),
        kit.draw("text", { x: width / 2 + 12, y: 14, "text-anchor": "middle", class: "p-g" }, "yours: p",
          kit.draw("tspan", { dy: 3, class: "sub" }, "g")),
        kit.draw("text", { x: width - EDGE, y: 14, "text-anchor": "end", class: "d" }, "best D*, dashed"),
        ...[-4, -2, 0, 2, 4].map(v => kit.draw("text",
          { class: "small", x: across(v), y: HEIGHT - 6, "text-anchor": "middle" }, `${v}`.replace("-", "−"))),
      );
      place(across);
    },
  });

  const integrands = kit.plot({
    alt: "", height: 170,
    paint: (svg, width) => {
      const across = acrossOf(width), down = kit.scale(0, -1.05, 8, 164);
      const floor = now.pG.map((q, i) => LOWEST * (q + pData[i]) / 2);
      const back = [...shown].reverse().map(i => `L${across(x[i]).toFixed(1)} ${down(floor[i]).toFixed(1)}`).join("");
      svg.append(
        kit.draw("path", { class: "axis", d: `M${EDGE} ${down(0)}H${width - EDGE}` }),
        kit.draw("path", { class: "gap", d: `${line(across, down, now.cPoint)}${back}Z` }),
        kit.draw("path", { class: "floor", d: line(across, down, floor) }),
        kit.draw("path", { d: line(across, down, now.cPoint) }),
        kit.draw("text", { x: EDGE, y: 130 }, "what each x adds to C(G)"),
        kit.draw("text", { x: EDGE, y: 146, class: "faint" }, "the least it could add"),
        kit.draw("text", { x: EDGE, y: 162, class: "accent" }, "red, between the two: 2 · JSD"),
      );
    },
  });

  const meter = kit.plot({
    alt: "", height: 62,
    paint: (svg, width) => {
      const at = kit.scale(LOWEST, 0, EDGE + 20, width - EDGE), c = at(now.c);
      svg.append(
        kit.draw("path", { class: "axis", d: `M${at(LOWEST)} 30H${at(0)}` }),
        kit.draw("path", { class: "twice", d: `M${at(LOWEST)} 30H${c}` }),
        kit.draw("path", { class: "axis", d: `M${at(LOWEST)} 22V38M${at(0)} 22V38` }),
        kit.draw("path", { class: "p-g", d: `M${at(GOAL)} 20V40` }),
        kit.draw("path", { class: "mark", d: `M${c} 29l-7-13h14z` }),
        kit.draw("text", { x: at(LOWEST), y: 55, "text-anchor": "middle" }, "−log 4"),
        kit.draw("text", { x: at(GOAL) + 4, y: 55, class: "p-g" }, "goal"),
        kit.draw("text", { x: at(0), y: 55, "text-anchor": "end" }, "0: never mistaken"),
        kit.draw("text", { x: clamp(c, 30, width - 30), y: 12, "text-anchor": "middle" }, "C(G)"),
      );
    },
  });

  // A point to drag, and for the arrow keys. `move(right, up)` takes steps in the units of the plot.
  const handle = (label, move) => {
    const knob = kit.make("div", { class: "live-knob", role: "slider", tabindex: 0, "aria-label": label });
    const scaleOf = () => [8 / (densities.clientWidth - 2 * EDGE), TOP / (BASE - 26)];
    knob.onkeydown = event => {
      const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.05], ArrowDown: [0, -0.05] }[event.key];
      if (!step) return;
      event.preventDefault();
      move({ ...state }, ...step);
    };
    knob.onpointerdown = event => {
      const [right, upwards] = scaleOf(), start = { ...state }, { clientX, clientY } = event;
      knob.setPointerCapture(event.pointerId);
      knob.onpointermove = e => move(start, (e.clientX - clientX) * right, (clientY - e.clientY) * upwards);
    };
    knob.onpointerup = knob.onpointercancel = () => { knob.onpointermove = null; };
    return knob;
  };
  const knobs = {
    mean: handle("first bump: left and right move it, up makes it narrow", (s, right, upwards) =>
      change({ mean: s.mean + right, width: s.width - upwards })),
    width: handle("width of the first bump", (s, right) => change({ width: s.width + right })),
    mean2: handle("second bump: left and right move it, up gives it weight", (s, right, upwards) =>
      change({ mean2: s.mean2 + right, weight: s.weight + 2 * upwards })),
    width2: handle("width of the second bump", (s, right) => change({ width2: s.width2 + right })),
    pencil: handle("pencil: left and right move it, up and down raise the curve there", (s, right, upwards) => {
      pencil = clamp(pencil + Math.sign(right), 0, 32);
      const list = heights(state.drawn);
      list[pencil] = clamp(list[pencil] + 2000 * upwards, 0, HIGHEST);
      change({ drawn: written(list) });
    }),
  };
  knobs.pencil.onpointerdown = null;
  knobs.width.classList.add("wide");
  knobs.width2.classList.add("wide");
  densities.append(...Object.values(knobs));

  const place = across => {
    const spots = { mean: state.mean, width: state.mean + state.width, mean2: state.mean2,
      width2: state.mean2 + state.width2, pencil: KNOTS[pencil] };
    for (const [key, at] of Object.entries(spots)) {
      const height = now.pG[clamp(Math.round((at + 12) / dx), 0, 2400)], knob = knobs[key];
      knob.hidden = (key === "pencil") === !state.drawn || (key === "width2" && !state.weight)
        || (key === "width" && state.weight === 1);
      knob.style.left = `${clamp(across(at), EDGE, densities.clientWidth - EDGE)}px`;
      knob.style.top = `${clamp(up(height), 20, BASE)}px`;
      const told = key === "mean" ? `at ${words(state.mean)}, width ${words(state.width)}`
        : key === "mean2" ? `at ${words(state.mean2)}, weight ${words(state.weight)}`
          : key === "pencil" ? `at ${words(at)}, height ${words(height)}` : words(state[key]);
      const [low, high] = LIMITS[key] ?? [-4, 4];
      for (const [name, value] of Object.entries({ now: state[key] ?? at, min: low, max: high, text: told })) {
        knob.setAttribute(`aria-value${name}`, value);
      }
    }
  };

  // The pen: from the last point to this one, every knot in between.
  let pen = null;
  const draw = event => {
    const box = densities.getBoundingClientRect(), across = acrossOf(box.width);
    const at = (event.clientX - box.left - across(-4)) / (across(4) - across(-4)) * 32;
    const height = clamp((BASE - (event.clientY - box.top)) / (BASE - 26) * TOP * 1000, 0, HIGHEST);
    const list = heights(state.drawn), [from, last] = pen ?? [at, height];
    const [low, high] = [Math.min(from, at), Math.max(from, at)];
    KNOTS.forEach((_, i) => {
      if (i < low - 0.5 || i > high + 0.5) return;
      const part = from === at ? 1 : clamp((i - from) / (at - from), 0, 1);
      list[i] = last + part * (height - last);
    });
    pen = [at, height];
    change({ drawn: written(list) });
  };
  densities.addEventListener("pointerdown", event => {
    if (!state.drawn || event.target === knobs.pencil) return;
    densities.setPointerCapture(event.pointerId);
    draw(event);
  });
  densities.addEventListener("pointermove", event => { if (pen) draw(event); });
  for (const end of ["pointerup", "pointercancel"]) densities.addEventListener(end, () => { pen = null; });

  const slide = (key, label) => kit.slider({
    label, min: LIMITS[key][0], max: LIMITS[key][1], step: 0.02, value: state[key], text: words,
    change: value => change({ [key]: value, drawn: "" }),
  });
  const sliders = { mean: slide("mean", "mean"), width: slide("width", "width"), weight: slide("weight", "2nd bump"),
    mean2: slide("mean2", "its mean"), width2: slide("width2", "its width") };
  const byHand = kit.button("Draw it by hand", () => {
    const sketch = KNOTS.map(knot => 1000 * now.pG[Math.round((knot + 12) / dx)]);
    change({ drawn: state.drawn ? "" : written(sketch) });
  });
  const figures = kit.make("p", { class: "live-figures" });
  const goal = kit.goal("bring C(G) below −1.3.");

  const change = part => {
    for (const [key, value] of Object.entries(part)) {
      state[key] = key === "drawn" ? value : Math.round(clamp(value, ...LIMITS[key]) * 100) / 100;
    }
    kit.keep(state, DEFAULTS);
    show();
  };
  const show = () => {
    stage.now = now = follow(mixture(state.drawn ? drawnBells(heights(state.drawn)) : bumps(state)));
    const equation = `C(G) = ${longer(now.c)} nats;  −log 4 + 2 · JSD = ${longer(LOWEST)} + 2 · ${longer(now.jsd)}`
      + ` = ${longer(LOWEST + 2 * now.jsd)}`;
    figures.textContent = equation;
    densities.say(`Densities of the data and of G, and the best discriminator, between −4 and 4. ${equation}`);
    integrands.say(`What each point adds to C(G), above the least that it could add; between them lies ${longer(2 * now.jsd)}.`);
    meter.say(`C(G) = ${longer(now.c)} between −log 4 and 0; the goal is −1.3.`);
    goal.check(now.c < GOAL, now.c < LOWEST + 5e-4
      ? "The bottom: p_g = p_data, and D* says ½ everywhere. C(G) = −log 4, and no G gets lower."
      : now.c < -1.32 ? "Reached. How close to −log 4 do you get? Watch D* go flat."
        : "Reached. One bump gets hardly lower; try two.");
    byHand.textContent = state.drawn ? "Back to bumps" : "Draw it by hand";
    densities.classList.toggle("drawing", state.drawn !== "");
    Object.entries(sliders).forEach(([key, element]) => element.set(state[key]));
    [densities, integrands, meter].forEach(plot => plot.repaint());
  };

  const hint = kit.make("p", { class: "live-hint" },
    "Drag the green points, or use the arrow keys on them; pull the right one up and a second bump grows.");
  stage.append(goal, densities, integrands, meter, figures,
    kit.make("div", { class: "live-bar" }, byHand,
      kit.button("Let G copy the data", () => change({ ...COINS, drawn: "" })),
      kit.button("Start again", () => change(DEFAULTS))),
    kit.make("div", { class: "live-bar" }, ...Object.values(sliders)), hint);
  show();
  return () => { state = kit.read(DEFAULTS); show(); };
});
