// A formula within a line cannot break. Where it is wider than its paragraph (on a phone, say), it gets the class
// that lets it scroll; the others keep their place on the line.
window.addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  const article = document.querySelector("article");
  const mark = () => article.querySelectorAll("span.math > mjx-container").forEach(formula => {
    formula.classList.remove("wide");
    const room = formula.parentElement.parentElement.clientWidth;
    formula.classList.toggle("wide", room > 0 && formula.offsetWidth > room);
  });
  if (article) new ResizeObserver(mark).observe(article); // calls once now, and when a box is opened
});
