
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details")) one.open = true;
  });

  const data = byId("data");
  if (!data) return;
  const PAGE = 50;
  const columns = JSON.parse(data.textContent).columns;
  data.remove();
  const total = columns[0].values.length;
  const column = Object.fromEntries(columns.map((one) => [one.key, one]));
  const collator = new Intl.Collator(undefined, { numeric: true });

  // What decides on a column's order, a number per row; made when it is first sorted by.
  function keys(one) {
    if (one.keys) return one.keys;
    const rank = new Float64Array(total);
    if (one.kind === "text") {
      const order = Uint32Array.from(rank.keys()).sort((a, b) => {
        const x = one.values[a], y = one.values[b];
        return x < y ? -1 : x > y ? 1 : 0;
      });
      let place = -1, before = null;
      for (const row of order) {
        if (one.values[row] !== before) { place += 1; before = one.values[row]; }
        rank[row] = before === "" ? NaN : place;
      }
    } else if (one.kind === "choice") {
      const order = one.names.map((_, i) => i)
        .sort((a, b) => collator.compare(one.names[a], one.names[b]));
      const places = new Float64Array(order.length);
      order.forEach((name, place) => { places[name] = one.names[name] === "" ? NaN : place; });
      for (let row = 0; row < total; row += 1) rank[row] = places[one.values[row]];
    } else {
      for (let row = 0; row < total; row += 1) {
        const value = one.values[row];
        rank[row] = value === null || (one.kind === "share" && value < 0) ? NaN : value;
      }
    }
    one.keys = rank;
    return rank;
  }

  // Rows in the chosen order; rows without a value come last, ties stay as they were.
  const all = Uint32Array.from({ length: total }, (_, row) => row);
  function sorted(one, up) {
    const rank = keys(one), sign = up ? 1 : -1;
    return all.slice().sort((a, b) => {
      const x = rank[a], y = rank[b];
      if (x === y) return a - b;
      if (x !== x) return y !== y ? a - b : 1;
      return y !== y ? -1 : sign * (x - y);
    });
  }

  let haystack = null;
  function searchable() {
    if (haystack) return haystack;
    const texts = [column.id, column.nearest_id, column.error].filter(Boolean);
    haystack = Array.from(all, (row) => texts.map((one) => one.values[row]).join("\n").toLowerCase());
    return haystack;
  }

  const state = { order: all, shown: all, page: 0, by: null, up: true };
  const selects = [...document.querySelectorAll("#filters select[data-column]")];

  const name = (key, row) => column[key] ? column[key].names[column[key].values[row]] : "";
  const known = new Set(columns.filter((one) => one.key.startsWith("p_")).map((one) => one.key));
  function mistaken(row) {
    const label = name("label", row), verdict = name("verdict", row);
    return known.has("p_" + label) && known.has("p_" + verdict) && label !== verdict;
  }

  function filter() {
    const tests = [];
    for (const one of selects) {
      if (one.value === "") continue;
      const values = column[one.dataset.column].values, wanted = Number(one.value);
      tests.push((row) => values[row] === wanted);
    }
    const show = byId("show") ? byId("show").value : "";
    if (show === "wrong") tests.push(mistaken);
    if (show === "failed") tests.push((row) => column.error.values[row] !== "");
    const words = byId("find").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length) {
      const texts = searchable();
      tests.push((row) => words.every((word) => texts[row].includes(word)));
    }
    state.shown = tests.length
      ? state.order.filter((row) => tests.every((test) => test(row)))
      : state.order;
    state.page = 0;
    draw();
  }

  function sortBy(one) {
    const first = one.kind === "text" || one.kind === "choice";
    state.up = state.by === one ? !state.up : first;
    state.by = one;
    state.order = sorted(one, state.up);
    for (const head of heads) {
      if (head.one === one) {
        head.cell.setAttribute("aria-sort", state.up ? "ascending" : "descending");
      } else {
        head.cell.removeAttribute("aria-sort");
      }
    }
    filter();
  }

  function cell(one, row) {
    const made = document.createElement("td"), value = one.values[row];
    if (one.kind === "share") {
      made.className = "share";
      made.textContent = value < 0 ? "—" : (value / 100).toFixed(1);
      if (value >= 0) made.style.setProperty("--part", Math.min(value / 10000, 1));
    } else if (one.kind === "number") {
      made.textContent = value === null ? "—" : value.toFixed(3);
    } else {
      const said = one.kind === "choice" ? one.names[value] : value;
      const inside = document.createElement("bdi");
      inside.textContent = one.key === "set" ? said.replaceAll("|", ", ") : said;
      made.append(inside);
      made.className = one.kind === "text" ? "words long" : "words";
      if (one.kind === "text") made.title = said;
      if (one.key === "verdict" && mistaken(row)) made.classList.add("mistake");
    }
    return made;
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(state.shown.length / PAGE));
    state.page = Math.min(Math.max(state.page, 0), pages - 1);
    const start = state.page * PAGE;
    const rows = Array.from(state.shown.subarray(start, start + PAGE), (row) => {
      const line = document.createElement("tr");
      line.append(...columns.map((one) => cell(one, row)));
      return line;
    });
    document.querySelector("#scores tbody").replaceChildren(...rows);
    const few = (count) => count.toLocaleString("en");
    byId("count").textContent = state.shown.length === total
      ? `${few(total)} videos`
      : `${few(state.shown.length)} of ${few(total)} videos`;
    byId("place").textContent = `${few(state.page + 1)} of ${few(pages)}`;
    byId("first").disabled = byId("back").disabled = state.page === 0;
    byId("next").disabled = byId("last").disabled = state.page === pages - 1;
  }

  const heads = columns.map((one) => {
    const head = document.createElement("th"), button = document.createElement("button");
    head.scope = "col";
    if (one.kind === "text" || one.kind === "choice") head.className = "words";
    button.type = "button";
    button.textContent = one.kind === "share" ? `${one.title}, %` : one.title;
    button.addEventListener("click", () => sortBy(one));
    head.append(button);
    return { one, cell: head };
  });
  const line = document.createElement("tr");
  line.append(...heads.map((head) => head.cell));
  document.querySelector("#scores thead").append(line);

  let waiting = 0;
  byId("find").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 120);
  });
  byId("filters").addEventListener("change", filter);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  const go = (page) => () => { state.page = page(); draw(); };
  byId("first").addEventListener("click", go(() => 0));
  byId("back").addEventListener("click", go(() => state.page - 1));
  byId("next").addEventListener("click", go(() => state.page + 1));
  byId("last").addEventListener("click", go(() => Infinity));
  draw();
})();
