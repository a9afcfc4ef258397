"use strict";
(() => {
  const { charts, bounds } = JSON.parse(document.getElementById("data").textContent);
  const views = {};
  // `ast`: expressions are interpreted, not evaluated, which the page's security policy forbids.
  const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true };
  const drawn = Object.entries(charts).map(async ([id, spec]) => {
    views[id] = (await vegaEmbed(document.getElementById(id), spec, options)).view;
  });

  const slider = document.getElementById("slider");
  const text = (tag, words) => Object.assign(document.createElement(tag), { textContent: words });
  function show(at) {
    const entry = bounds[at];
    document.getElementById("bound-now").textContent = entry.bound_text + (entry.given ? " (the goal's)" : "");
    slider.setAttribute("aria-valuetext", entry.bound_text);
    const says = document.getElementById("bound-says");
    says.replaceChildren(
      text("p", (entry.likely ? "Best: " : "Nearest, but unlikely to meet it: ") + entry.config),
      text("p", entry.expected.map(([name, mean, interval]) => `${name} ${mean} (${interval})`).join("; ")
        + `; chance to meet every bound ${entry.chance}`),
    );
    const view = views.runs;
    if (view && entry.x !== null && entry.y !== null)
      view.signal("bound", entry.bound).signal("pick_x", entry.x).signal("pick_y", entry.y).signal("pick_shown", 1).run();
  }
  Promise.all(drawn).then(() => {
    if (slider) {
      slider.addEventListener("input", () => show(Number(slider.value)));
      show(Number(slider.value));
    }
    document.documentElement.dataset.drawn = "yes";
  });

  const copy = document.getElementById("copy");
  if (copy) copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById("apply").textContent);
    copy.textContent = "Copied";
  });

  const table = document.getElementById("all-runs");
  if (table) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    const number = (key) => (key === "" ? NaN : Number(key));
    function compare(a, b) {
      const [x, y] = [number(a), number(b)];
      if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
      return Number.isNaN(x) ? a.localeCompare(b) : x - y;
    }
    heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.key;
      const filled = [...body.rows].filter((row) => key(row) !== ""), empty = [...body.rows].filter((row) => key(row) === "");
      filled.sort((a, b) => (up ? 1 : -1) * compare(key(a), key(b)));
      body.replaceChildren(...filled, ...empty);
    }));
    document.getElementById("filter").addEventListener("input", (event) => {
      const wanted = event.target.value.toLowerCase();
      for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    });
  }
})();
