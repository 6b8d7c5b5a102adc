// A formula within a line cannot break. Where it is wider than its paragraph (on a phone, say), it gets the class
// that lets it scroll; the others keep their place on the line. What scrolls, code and tables too, can be reached by keys.
window.addEventListener("load", () => {
  const article = document.querySelector("article");
  const mark = () => {
    const formulas = [...article.querySelectorAll("span.math")];
    formulas.forEach(formula => formula.classList.remove("wide"));
    const wide = formulas.filter(formula => {
      const room = formula.parentElement.closest(":not(.whole)").clientWidth;
      return room > 0 && formula.firstElementChild.getBoundingClientRect().width > room;
    });
    wide.forEach(formula => formula.classList.add("wide"));
    const boxes = [...article.querySelectorAll("figure, pre, .cell_output, .cell_output > .output, .pst-scrollable-table-container")]
      .filter(box => box.checkVisibility()).map(box => [box, box.scrollWidth > box.clientWidth + 1]);
    for (const [box, scrolls] of boxes) scrolls ? box.tabIndex = 0 : box.removeAttribute("tabindex");
  };
  if (article) new ResizeObserver(mark).observe(article); // calls once now, and when a box is opened
});
