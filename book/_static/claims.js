// Filters of the claims page: by verdict (the tally's links, #agrees and so on), by section, by words.
// Without scripts all rows are shown.
(() => {
  const table = document.querySelector("table.claims");
  const rows = [...table.tBodies[0].rows];
  const links = [...document.querySelectorAll("ul.tally a")];
  const kinds = links.map(link => link.hash.slice(1));
  const sections = [...new Set(rows.map(row => row.className.match(/section-\d+/)[0]))].sort();
  const form = document.createElement("form");
  form.className = "claims-filter";
  form.innerHTML = `
    <label>Section <select><option value="">all</option>${sections.map(name =>
      `<option value="${name}">${name.slice("section-".length)}</option>`).join("")}</select></label>
    <label>With the words <input type="search"></label>
    <button type="reset">Show all</button>
    <output></output>`;
  const [section, words, , count] = form.elements;
  const show = () => {
    const kind = kinds.find(kind => location.hash == "#" + kind);
    for (const link of links) link.toggleAttribute("aria-current", link.hash == "#" + kind);
    for (const row of rows) {
      row.hidden = !(!kind || row.querySelector(`.verdict-kind.${kind}`))
        || !(!section.value || row.classList.contains(section.value))
        || !words.value.toLowerCase().split(/\s+/).every(word => row.textContent.toLowerCase().includes(word));
    }
    count.value = `${rows.filter(row => !row.hidden).length} of ${rows.length} shown`;
  };
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("input", show);
  form.addEventListener("reset", () => {
    history.replaceState(null, "", location.pathname);
    setTimeout(show);
  });
  window.addEventListener("hashchange", show);
  (table.closest(".pst-scrollable-table-container") ?? table).before(form);
  show();
})();
