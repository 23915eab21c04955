
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details")) one.open = true;
  });

  const data = byId("data");
  if (!data) return;
  const PAGE = 50;
  const make = (tag, ...parts) => {
    const made = document.createElement(tag);
    made.append(...parts);
    return made;
  };
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
    const texts = [column.id, column.group, column.nearest_id, column.stress, column.error]
      .filter(Boolean);
    haystack = Array.from(all, (row) => texts.map((one) => one.values[row]).join("\n").toLowerCase());
    return haystack;
  }

  const state = { order: all, shown: all, page: 0, by: null, up: true, visible: [] };
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
    const asked = byId("show") ? byId("show").value : "";
    if (asked === "wrong") tests.push(mistaken);
    if (asked === "failed") tests.push((row) => column.error.values[row] !== "");
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
    tellOrder();
    filter();
  }

  function tellOrder() {
    for (const cell of table.tHead.rows[0].cells) {
      if (state.by === null || cell.dataset.key !== state.by.key) cell.removeAttribute("aria-sort");
      else cell.setAttribute("aria-sort", state.up ? "ascending" : "descending");
    }
  }

  // A value as people read it.
  function words(one, row) {
    const value = one.values[row];
    if (one.kind === "share") return value < 0 ? "—" : (value / 100).toFixed(1);
    if (one.kind === "number") return value === null ? "—" : value.toFixed(3);
    const said = one.kind === "choice" ? one.names[value] : value;
    return one.key === "set" ? said.replaceAll("|", ", ") : said;
  }

  // Beginnings of names are folders, ends tell files apart: the middle goes.
  function shortened(name) {
    const marks = [...name], most = phone.matches ? 16 : 48;
    if (marks.length <= most) return name;
    const end = Math.ceil(most * 0.6);
    return marks.slice(0, most - end - 1).join("") + "…" + marks.slice(-end).join("");
  }

  function titled(one) {
    return one.kind === "share" ? `${one.title}, %` : one.title;
  }

  function cell(one, row) {
    const made = make("td"), said = words(one, row);
    if (one.kind === "share" || one.kind === "number") {
      made.textContent = said;
      const value = one.values[row];
      if (one.kind === "share") made.className = "share";
      if (one.kind === "share" && value >= 0) {
        made.style.setProperty("--part", Math.min(value / 10000, 1));
      }
      return made;
    }
    const inside = make("bdi", one.key === "id" ? shortened(said) : said);
    made.className = one.kind === "text" ? "words long" : "words";
    if (one.kind === "text") made.title = said;
    if (one.key === "verdict" && mistaken(row)) made.classList.add("mistake");
    if (one.key !== "id") {
      made.append(inside);
      return made;
    }
    const button = make("button", inside);
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => unfold(button, row));
    made.append(button);
    return made;
  }

  // All that is known of a row, below it.
  function unfold(button, row) {
    const line = button.closest("tr"), open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) {
      line.nextElementSibling.remove();
      return;
    }
    const list = make("dl"), whole = make("td", list), below = make("tr", whole);
    list.className = "facts";
    for (const one of columns) {
      const said = words(one, row);
      if (said === "" || said === "—") continue;
      list.append(make("div", make("dt", titled(one)), make("dd", make("bdi", said))));
    }
    below.className = "below";
    whole.colSpan = state.visible.length;
    line.after(below);
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(state.shown.length / PAGE));
    state.page = Math.min(Math.max(state.page, 0), pages - 1);
    const start = state.page * PAGE;
    const rows = Array.from(state.shown.subarray(start, start + PAGE), (row) =>
      make("tr", ...state.visible.map((one) => cell(one, row))));
    table.tBodies[0].replaceChildren(...rows);
    around.classList.remove("wider");
    around.classList.toggle("wider", table.offsetWidth > around.clientWidth + 1);
    const few = (count) => count.toLocaleString("en");
    byId("count").textContent = state.shown.length === total
      ? `${few(total)} videos`
      : `${few(state.shown.length)} of ${few(total)} videos`;
    byId("place").textContent = `${few(state.page + 1)} of ${few(pages)}`;
    byId("first").disabled = byId("back").disabled = state.page === 0;
    byId("next").disabled = byId("last").disabled = state.page === pages - 1;
  }

  // The heading row and the page of rows, with these columns.
  function show(chosen) {
    state.visible = columns.filter((one) => chosen.has(one.key));
    const line = make("tr", ...state.visible.map((one) => {
      const button = make("button", titled(one)), head = make("th", button);
      head.scope = "col";
      head.dataset.key = one.key;
      if (one.kind === "text" || one.kind === "choice") head.className = "words";
      button.type = "button";
      button.addEventListener("click", () => sortBy(one));
      return head;
    }));
    table.tHead.replaceChildren(line);
    for (const box of boxes) box.checked = chosen.has(box.value);
    tellOrder();
    draw();
  }

  // As many columns as the page is wide enough for, those that people ask for first before others.
  const FIRST = [
    "id", "verdict", "confidence", "label", "source", "forgery", "stress", "unlike", "group",
    "error",
  ];
  function fit() {
    show(new Set(columns.map((one) => one.key)));
    const widths = {};
    for (const head of table.tHead.rows[0].cells) widths[head.dataset.key] = head.offsetWidth;
    const rank = (one) => FIRST.includes(one.key) ? FIRST.indexOf(one.key) : FIRST.length;
    let left = around.clientWidth;
    const chosen = new Set();
    for (const one of [...columns].sort((a, b) => rank(a) - rank(b))) {
      left -= widths[one.key];
      if (left < 0 && chosen.size > 0) break;
      chosen.add(one.key);
    }
    show(chosen);
  }

  const table = byId("scores"), around = table.parentElement;
  const phone = matchMedia("(max-width: 34rem)");
  const boxes = columns.filter((one) => one.key !== "id").map((one) => {
    const box = make("input");
    box.type = "checkbox";
    box.value = one.key;
    byId("columns").append(make("label", box, ` ${titled(one)}`));
    return box;
  });
  let byHand = false, wide = innerWidth;
  byId("columns").addEventListener("change", () => {
    byHand = true;
    show(new Set(["id", ...boxes.filter((box) => box.checked).map((box) => box.value)]));
  });
  addEventListener("resize", () => {
    if (innerWidth === wide) return;
    wide = innerWidth;
    if (byHand) draw(); else fit();
  });

  // Every column of the rows that are shown, in their order; no cell is taken for a formula.
  byId("download").addEventListener("click", () => {
    const quoted = (value) => {
      const safe = /^'*[=+\-@\t\r]/.test(value) ? `'${value}` : value;
      return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    const raw = (one, row) => {
      const value = one.values[row];
      if (one.kind === "share") return value < 0 ? "" : String(value / 10000);
      if (one.kind === "number") return value === null ? "" : String(value);
      return quoted(one.kind === "choice" ? one.names[value] : value);
    };
    const lines = [columns.map((one) => quoted(one.key)).join(",")];
    for (const row of state.shown) lines.push(columns.map((one) => raw(one, row)).join(","));
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
    link.download = "scores.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });

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
  fit();
})();
