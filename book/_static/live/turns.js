// The games with k steps of D for one of G, side by side in time: the mode is k, the film one game's 200 updates.
live("turns", (stage, kit) => {
  const { draw, scale } = kit, { ks, points, every, frames } = kit.data("turns");
  const usual = { k: String(ks[0]), update: 0 }, reach = 4, last = frames[ks[0]].length - 1;
  let state = kit.read(usual);
  // A frame is bytes: 150 samples, x and y from -4 to 4, and what D says on a grid over the same square.
  const films = Object.fromEntries(ks.map(k => [k, frames[k].map(text => {
    const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0)), n = 300;
    const place = i => 2 * reach * bytes[i] / 255 - reach;
    const samples = Array.from({ length: n / 2 }, (_, i) => [place(2 * i), place(2 * i + 1)]);
    const off = samples.reduce((sum, [x, y]) => sum + Math.abs(Math.hypot(x, y) - 2), 0) / samples.length;
    return { samples, off, believed: bytes.subarray(n), side: Math.sqrt(bytes.length - n) };
  })]));
  const best = Math.min(...ks.flatMap(k => films[k].map(frame => frame.off)));
  const now = () => films[state.k in films ? state.k : ks[0]][Math.min(last, Math.max(0, Math.round(state.update / every)))];
  stage.off = () => now().off; // for a console, or a test, to ask

  const plane = kit.plot({ alt: "", height: width => Math.min(width, 360), paint: (svg, width, height) => {
    const frame = now(), middle = width / 2, x = scale(-reach, reach, middle - height / 2, middle + height / 2);
    const y = scale(-reach, reach, height, 0), cell = height / (frame.side - 1);
    const field = draw("svg", { class: "field", x: x(-reach), y: 0, width: height, height }); // cuts off what sticks out
    frame.believed.forEach((byte, i) => {
      const opacity = Math.max(0, byte / 255 - .5) * 1.1;
      if (opacity < .02) return;
      const [a, b] = [Math.floor(i / frame.side), i % frame.side];
      field.append(draw("rect", { x: a * cell - cell / 2, y: height - b * cell - cell / 2, width: cell + .5,
        height: cell + .5, opacity: opacity.toFixed(2) }));
    });
    const dots = (places, radius, name) => draw("g", { class: `dots ${name}` }, ...places
      .filter(([a, b]) => Math.max(Math.abs(a), Math.abs(b)) < reach - .01)
      .map(([a, b]) => draw("circle", { cx: x(a), cy: y(b), r: radius })));
    svg.append(field, draw("circle", { class: "axis", cx: x(0), cy: y(0), r: x(2) - x(0) }),
      dots(frame.samples, 2.2, "p-g"), dots(points, 2.6, ""),
      draw("rect", { class: "axis", x: x(-reach), y: .5, width: height, height: height - 1 }));
  } });
  const words = kit.make("p", { class: "live-figures" });
  const goal = kit.goal("find the k, and the moment, at which the samples lie nearest to the circle.");
  const show = () => {
    const { off } = now(), moment = Math.round(state.update);
    words.textContent = `Samples, mean distance from the circle: ${off.toFixed(2)}`;
    plane.say(`k = ${state.k}, update ${moment}: fifty points near a circle, green samples`
      + ` ${off.toFixed(2)} from it on average, blue where D says more than one half.`);
    plane.repaint();
    goal.check(off <= best + 1e-9, `Reached: k = ${state.k}, update ${moment}.`);
    kit.keep(state, usual);
  };
  const slider = kit.slider({ label: "update", min: 0, max: last * every, step: every, value: state.update,
    change: v => { player.stop(); state.update = v; show(); } });
  const choice = kit.choice({ label: "k", options: Object.fromEntries(ks.map(k => [k, k])), value: state.k,
    change: k => { state.k = k; show(); } });
  const go = update => { state.update = update; slider.set(update); show(); return update < last * every; };
  const player = kit.player({ milliseconds: 200,
    step: () => go(state.update >= last * every ? 0 : state.update + every) });
  stage.append(choice, plane, kit.make("div", { class: "live-bar" }, player, slider), words, goal);
  show();
  return () => { state = kit.read(usual); choice.set(state.k); go(state.update); };
});
