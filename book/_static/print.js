// On paper a page is light, whatever the screen is, with its answers open. Code that is folded stays folded.
let asBefore = [];
addEventListener("beforeprint", () => {
  const root = document.documentElement, theme = root.dataset.theme;
  asBefore = [() => root.dataset.theme = theme];
  root.dataset.theme = "light";
  document.querySelectorAll("article details:not([open], .hide)").forEach(details => {
    details.open = true;
    asBefore.push(() => details.open = false);
  });
});
addEventListener("afterprint", () => asBefore.forEach(restore => restore()));
