// A bump of width sigma on each of 15 samples; what their average, the density, says of points held out.
live("parzen", (stage, kit) => {
  const { draw, scale } = kit, { samples, held_out: held, truth, window: [left, right] } = kit.data("parzen");
  const usual = { sigma: 1.8 }, least = 1.8 * Math.exp(-4.1), most = 2.5;
  let state = kit.read(usual);

  const bump = (x, centre, sigma) => Math.exp(-((x - centre) ** 2) / (2 * sigma ** 2)) / (sigma * Math.sqrt(2 * Math.PI));
  const density = (x, sigma) => samples.reduce((sum, s) => sum + bump(x, s, sigma), 0) / samples.length;
  // By the largest exponent first: the sum of bumps alone would be 0 in the computer, far from all of them.
  const log = (x, sigma) => {
    const exponents = samples.map(s => -((x - s) ** 2) / (2 * sigma ** 2)), top = Math.max(...exponents);
    const sum = exponents.reduce((total, e) => total + Math.exp(e - top), 0);
    return top + Math.log(sum / samples.length) - Math.log(sigma * Math.sqrt(2 * Math.PI));
  };
  const score = (points, sigma) => points.reduce((sum, x) => sum + log(x, sigma), 0) / points.length;
  stage.score = sigma => [score(samples, sigma), score(held, sigma)]; // for a console, or a test, to ask

  const widths = Array.from({ length: 120 }, (_, i) => least * (most / least) ** (i / 119));
  const own = widths.map(sigma => score(samples, sigma)), apart = widths.map(sigma => score(held, sigma));
  const best = Math.max(...apart);

  const bumps = kit.plot({ alt: "", height: width => Math.min(280, .6 * width), paint: (svg, width, height) => {
    const x = scale(left, right, 6, width - 6), y = scale(0, .75, height - 22, 8), n = 240;
    const xs = Array.from({ length: n + 1 }, (_, i) => left + (right - left) * i / n);
    const line = (values, name) => draw("path", { class: name,
      d: kit.curve(xs.map(x), values.map(v => y(Math.min(v, .8)))) });
    svg.append(
      draw("path", { class: "axis", d: `M6 ${y(0)}H${width - 6}` }),
      ...samples.map(s => line(xs.map(v => bump(v, s, state.sigma) / samples.length), "axis")),
      line(scaled(truth, n), "p-data"),
      line(xs.map(v => density(v, state.sigma)), "p-g"),
      draw("path", { d: samples.map(s => `M${x(s)} ${y(0)}v12`).join("") }),
      draw("text", { x: width - 6, y: 18, "text-anchor": "end" }, "dotted: the truth"),
      draw("text", { x: width - 6, y: 36, "text-anchor": "end", class: "p-g" }, "mean of 15 bumps"),
      draw("text", { x: 6, y: height - 2 }, "samples"));
  } });
  const scaled = (values, n) => Array.from({ length: n + 1 }, (_, i) => {
    const at = i / n * (values.length - 1), k = Math.min(Math.floor(at), values.length - 2);
    return values[k] + (at - k) * (values[k + 1] - values[k]);
  });
  const curves = kit.plot({ alt: "", height: 170, paint: (svg, width, height) => {
    const x = scale(Math.log(least), Math.log(most), 38, width - 6), y = scale(-4, 1, height - 20, 8);
    const line = (values, name) => draw("path", { class: name,
      d: kit.curve(widths.map(s => x(Math.log(s))), values.map(v => y(Math.max(-4, v)))) });
    const mark = (values, name) => draw("circle", { class: name, r: 5, cx: x(Math.log(state.sigma)),
      cy: y(Math.max(-4, values)) });
    const [onOwn, onHeld] = stage.score(state.sigma);
    svg.append(
      draw("path", { class: "axis", d: `M38 8V${height - 20}H${width - 6}` }),
      ...[-4, -3, -2, -1, 0, 1].map(v => draw("text", { x: 32, y: y(v) + 4, "text-anchor": "end" }, `${v}`)),
      ...[.03, .1, .3, 1, 2.5].map(v => draw("text", { x: x(Math.log(v)), y: height - 3,
        "text-anchor": v === .03 ? "start" : v === 2.5 ? "end" : "middle" }, `${v}`)),
      line(own, "accent"), line(apart, "ink"), mark(onOwn, "accent"), mark(onHeld, "ink"),
      draw("text", { x: width - 6, y: 18, "text-anchor": "end", class: "accent" }, "nats, on the samples themselves"),
      draw("text", { x: width - 6, y: 36, "text-anchor": "end" }, "on points held out"));
  } });
  const words = kit.make("p", { class: "live-figures" });
  const goal = kit.goal("the width that points held out would choose: the top of the lower curve.");
  const show = () => {
    const [onOwn, onHeld] = stage.score(state.sigma);
    words.textContent = `Nats a point: ${onOwn.toFixed(2)} on the samples, ${onHeld.toFixed(2)} on points held out.`;
    bumps.say(`The mean of 15 bumps of width ${state.sigma.toFixed(2)}, and the true density with its two hills`);
    curves.say(`Scores against the width, marked at ${state.sigma.toFixed(2)}. ${words.textContent}`);
    bumps.repaint();
    curves.repaint();
    goal.check(best - onHeld < .005, `Reached, with sigma = ${state.sigma.toFixed(2)}.`);
    kit.keep(state, usual);
  };
  // The slider moves the logarithm: a hundredth of sigma means much where sigma is small.
  const slider = kit.slider({ label: "sigma", min: Math.log(least), max: Math.log(most), step: .02,
    value: Math.log(state.sigma), text: v => Math.exp(v).toFixed(2),
    change: v => { state.sigma = Number(Math.exp(v).toFixed(4)); show(); } });
  stage.append(bumps, slider, curves, words, goal);
  show();
  return () => { state = kit.read(usual); slider.set(Math.log(state.sigma)); show(); };
});
