// What the pieces that a reader plays with have in common. A piece is a plain script beside this one, NAME.js, which
// calls live("NAME", (stage, kit) => ...): `stage` is the element to fill, `kit` the functions below. It needs no
// server: no modules, no requests but scripts, so that it also runs from a file.
const live = (() => {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

  // #theorem-1:mean=1&width=0.5;generator:seed=3 is the state of two pieces. Each changes its own part alone.
  const parts = () => new Map(location.hash.slice(1).split(";").filter(part => /^[\w-]+:/.test(part))
    .map(part => [part.slice(0, part.indexOf(":")), part.slice(part.indexOf(":") + 1)]));

  // The state of a piece: `defaults` (numbers or strings), with what the address says in their place.
  const read = (name, defaults) => {
    const told = new URLSearchParams(parts().get(name) ?? "");
    return Object.fromEntries(Object.entries(defaults).map(([key, value]) => {
      if (!told.has(key)) return [key, value];
      if (typeof value === "string") return [key, told.get(key)];
      const number = Number(told.get(key));
      return [key, told.get(key).trim() && Number.isFinite(number) ? number : value];
    }));
  };

  const waiting = new Map();
  let written = location.hash;
  const write = () => {
    if (location.hash !== written) waiting.clear(); // the reader's new address goes before older states
    if (!waiting.size) return;
    const all = parts(), before = all.size;
    waiting.forEach((state, name) => state ? all.set(name, state) : all.delete(name));
    waiting.clear();
    if (!before && !all.size) return; // nothing to say: the address of a heading stays
    written = [...all].map(([name, state]) => `${name}:${state}`).join(";");
    // Not location.hash: that would scroll, and add a step to the way back.
    history.replaceState(history.state, "", written ? `#${written}` : location.pathname + location.search);
    written = location.hash;
  };
  // Put a state into the address, what is as by default left out; soon, as browsers limit how often.
  const keep = (name, state, defaults) => {
    const changed = Object.entries(state).filter(([key, value]) => value !== defaults[key]);
    if (!waiting.size) setTimeout(write, 300);
    waiting.set(name, new URLSearchParams(changed).toString());
  };

  // make("p", { class: "live-goal" }, "text", child, ...): an element; in SVG's namespace by `draw`.
  const fill = (element, attributes, children) => {
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const draw = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  const button = (text, press) => {
    const element = make("button", { type: "button" }, text);
    element.onclick = press;
    return element;
  };

  // A labelled slider; `text` says a value in words, for eyes and ears. element.set(value) moves it from outside.
  const slider = ({ label, min, max, step, value, text = String, change }) => {
    const input = make("input", { type: "range", min, max, step, value });
    const output = make("output", { "aria-live": "off" }); // the slider itself says its value
    const element = make("label", { class: "live-slider" }, make("span", {}, label), input, output);
    const tell = () => {
      output.textContent = text(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.oninput = () => { tell(); change(Number(input.value)); };
    element.set = now => { input.value = now; tell(); };
    tell();
    return element;
  };

  // One of several: radio buttons under a name. options: { value: "words" }.
  const choice = ({ label, options, value, change }) => {
    const group = `live-${label}-${document.querySelectorAll("fieldset.live-choice").length}`;
    const element = make("fieldset", { class: "live-choice" }, make("legend", {}, label));
    for (const [key, words] of Object.entries(options)) {
      const input = make("input", { type: "radio", name: group, value: key });
      input.checked = key === String(value);
      input.onchange = () => change(key);
      element.append(make("label", {}, input, words));
    }
    element.set = now => element.querySelectorAll("input").forEach(i => { i.checked = i.value === String(now); });
    return element;
  };

  // What to bring about, and a sign when it is: goal.check(true, "words"). It is said once, not at each change.
  const goal = text => {
    const sign = make("span", { role: "status" });
    const element = make("p", { class: "live-goal" }, make("b", {}, "Goal: "), text, " ", sign);
    element.check = (reached, words = "Reached.") => {
      element.classList.toggle("reached", reached);
      const say = reached ? words : "";
      if (sign.textContent !== say) sign.textContent = say;
    };
    return element;
  };

  // A button that plays: `step` is called every `milliseconds`, until it returns false, the reader stops it, or it is
  // out of sight. Where less motion is asked for, the button makes one step. element.stop() stops it.
  const player = ({ step, milliseconds, words = "Play" }) => {
    let timer = null;
    const still = calm ? "Step" : words;
    const element = button(still, () => {
      if (calm) return step();
      if (timer) return element.stop();
      element.textContent = "Pause";
      timer = setInterval(() => { if (step() === false) element.stop(); }, milliseconds);
    });
    element.classList.add("live-play");
    element.stop = () => { clearInterval(timer); timer = null; element.textContent = still; };
    new IntersectionObserver(([seen]) => { if (!seen.isIntersecting) element.stop(); }).observe(element);
    document.addEventListener("visibilitychange", () => { if (document.hidden) element.stop(); });
    return element;
  };

  // A drawing as wide as its place, one unit a pixel, so that text is as large on a phone as on a desk. `paint(svg,
  // width, height)` fills an empty svg; it is called when the width changes, and by element.repaint().
  const plot = ({ alt, height, paint }) => {
    const svg = draw("svg", { role: "img", "aria-label": alt });
    const element = make("div", { class: "live-plot" }, svg);
    element.repaint = () => {
      const width = element.clientWidth;
      if (!width) return;
      const tall = Math.round(typeof height === "function" ? height(width) : height);
      fill(svg, { viewBox: `0 0 ${width} ${tall}`, width, height: tall }, []);
      svg.replaceChildren();
      paint(svg, width, tall);
    };
    element.say = words => svg.setAttribute("aria-label", words);
    new ResizeObserver(element.repaint).observe(element);
    return element;
  };

  // The path of a curve through points (x[i], y[i]) that are pixels already.
  const curve = (x, y) => "M" + Array.from(x, (a, i) => `${a.toFixed(1)} ${y[i].toFixed(1)}`).join("L");

  // A map of [from, to] onto the pixels [start, end].
  const scale = (from, to, start, end) => v => start + (v - from) / (to - from) * (end - start);

  // Another script of this folder, run once: by a promise.
  const folder = document.currentScript.src.replace(/[^/]*$/, "");
  const loading = {};
  const load = file => loading[file] ??= new Promise((done, fail) => {
    const script = make("script", { src: folder + file });
    script.onload = done;
    script.onerror = () => { delete loading[file]; fail(new Error(`${file} was not found`)); };
    document.head.append(script);
  });

  // What a cell of the page has handed over: JSON in <script type="application/json" id="live-data-NAME">.
  const data = name => JSON.parse(document.getElementById(`live-data-${name}`).textContent);

  // What the pieces do when the reader, not a piece, has changed the address, and not to a heading of the page.
  const again = [];
  addEventListener("hashchange", () => {
    if (location.hash === written) return;
    written = location.hash;
    waiting.clear();
    if (!written || parts().size) again.forEach(act => act());
  });

  const kit = { calm, make, draw, button, slider, choice, goal, player, plot, curve, scale, load, data };

  // A piece starts once the page is read. `start` may return a function that takes over the state of the address anew.
  return (name, start) => document.querySelectorAll(`[data-live="${name}"]`).forEach(place => {
    const stage = place.querySelector(".live-stage");
    const act = start(stage, {
      ...kit,
      read: defaults => read(name, defaults),
      keep: (state, defaults) => keep(name, state, defaults),
    });
    if (act) again.push(act);
    place.classList.add("live-on");
    if (parts().has(name)) place.scrollIntoView();
  });
})();
