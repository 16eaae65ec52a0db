"use strict";
// Draws the charts, and sorts and filters the tables, of report.html. Everything is in the file: nothing is fetched.

const { data: DATA, charts: CHARTS } = JSON.parse(document.getElementById("data").textContent);
const NARROW = 400; // pixels of a chart below which its legend has two columns
const COLLATOR = new Intl.Collator("en", { numeric: true });
const PAGE = 100; // rows that a table shows more of at a time
const MISSING = "–";
const ANY = "any";
const chosen = {}; // what the reader chose, by the choice's label: charts that offer the same choice follow it

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Tables

/** The number that a cell begins with; NaN if it begins with none. */
function numberOf(text) {
  return Number.parseFloat(text.trim().replace(/^[<≤×+]/, "").replace("−", "-").replaceAll(",", ""));
}

function comparison(cells) {
  const there = cells.filter((text) => text !== MISSING && text !== "");
  const numbers = there.length > 0 && there.every((text) => !Number.isNaN(numberOf(text)));
  return numbers ? (a, b) => numberOf(a) - numberOf(b) : COLLATOR.compare;
}

/** Tells whether a row has every word, and every `column=value`. */
function matcher(query, headings) {
  const tests = query.toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
    const [name, value] = word.split("=");
    const place = headings.findIndex((heading) => heading.toLowerCase().replaceAll(" ", "") === name);
    if (value === undefined || place < 0) return (row) => row.text.includes(word);
    return (row) => row.cells[place].toLowerCase() === value;
  });
  return (row) => tests.every((test) => test(row));
}

/** The rows of a table as they were written, with their cells' texts. */
const TABLES = {};
function rowsOf(id) {
  return (TABLES[id] ??= [...document.querySelectorAll(`#${CSS.escape(id)} tbody tr`)].map((line) => {
    const cells = [...line.cells].map((cell) => cell.textContent);
    return { line, cells, text: cells.join(" ").toLowerCase() };
  }));
}

function enhance(box) {
  const rows = rowsOf(box.id);
  const heads = [...box.querySelectorAll("thead th")];
  const headings = heads.map((head) => head.textContent);
  const body = box.querySelector("tbody");
  const status = box.querySelector("[role=status]");
  const more = box.querySelector(".more");
  const input = box.querySelector("[type=search]");
  let order = rows;
  let most = PAGE;

  function show() {
    const found = order.filter(matcher(input.value, headings));
    const shown = new Set(found.slice(0, most));
    for (const row of rows) row.line.hidden = !shown.has(row);
    const all = rows.length.toLocaleString("en");
    const matching = found.length < rows.length ? `${found.length.toLocaleString("en")} of ${all} rows match` : `${all} rows`;
    status.textContent = matching + (shown.size < found.length ? `; the first ${shown.size} are shown` : "");
    more.hidden = shown.size === found.length;
    more.textContent = `Show ${Math.min(PAGE, found.length - shown.size)} more rows`;
  }

  function sort(place) {
    const before = heads[place].getAttribute("aria-sort");
    const next = { null: "ascending", ascending: "descending", descending: null }[before];
    for (const head of heads) head.removeAttribute("aria-sort");
    order = [...rows];
    if (next) {
      heads[place].setAttribute("aria-sort", next);
      const empty = (row) => ["", MISSING].includes(row.cells[place]);
      const compare = comparison(rows.map((row) => row.cells[place]));
      const sign = next === "ascending" ? 1 : -1;
      order.sort((a, b) => empty(a) - empty(b) || sign * compare(a.cells[place], b.cells[place]));
    }
    body.append(...order.map((row) => row.line));
    show();
  }

  heads.forEach((head, place) => {
    const button = element("button", { type: "button", textContent: head.textContent });
    button.addEventListener("click", () => sort(place));
    head.replaceChildren(button);
  });
  input.addEventListener("input", () => {
    most = PAGE;
    show();
  });
  more.addEventListener("click", () => {
    most += PAGE;
    show();
  });
  box.querySelector(".tools").hidden = rows.length < 8 && !box.querySelector(".fine");
  show();
}

// Data

/** The values of a column; those of `{same}` and of a table's cells are made when they are asked for first. */
function column(set, name) {
  let values = set.columns[name];
  if (!Array.isArray(values)) {
    if (values.table) {
      const heads = [...document.querySelectorAll(`#${CSS.escape(values.table)} thead th`)];
      const place = heads.findIndex((head) => head.textContent === values.heading);
      values = rowsOf(values.table).map((row) => row.cells[place]);
    } else {
      values = Array(set.rows).fill(values.same);
    }
    set.columns[name] = values;
  }
  return values;
}

function valueOf(set, names, i) {
  if (!Array.isArray(names)) return column(set, names)[i];
  return names.map((name) => `${name} ${column(set, name)[i]}`).join(" · ");
}

/** Whether the page's data sets have several values of a column, so that a chart must say of which it is. */
const VARIED = {};
function isVaried(name) {
  const sets = Object.values(DATA).filter((set) => set.columns[name]);
  return (VARIED[name] ??= new Set(sets.flatMap((set) => column(set, name))).size > 1);
}

/** The rows that are chosen, as objects of the chart's fields. Fills the figure's choices. */
function choose(figure, chart) {
  const set = DATA[chart.data];
  const fields = { ...chart.fields };
  const shown = [];
  figure.picked = {};
  let rows = Array.from({ length: set.rows }, (_, i) => i);
  for (const choice of chart.choices) {
    let options;
    if (choice.column) {
      options = [...new Set(rows.map((i) => column(set, choice.column)[i]))];
      if (choice.any && options.length > 1) options.unshift(ANY);
    } else {
      options = Object.keys(choice.options).filter((option) => {
        const [first] = Object.values(choice.options[option]);
        const values = new Set(rows.map((i) => column(set, first)[i]));
        return choice.varied ? values.size > 1 : values.size > 1 || !values.has(null);
      });
    }
    const picked = options.includes(chosen[choice.label]) ? chosen[choice.label] : options[0];
    figure.picked[choice.label] = picked;
    if (!choice.column) Object.assign(fields, choice.options[picked]);
    else if (picked !== ANY) rows = rows.filter((i) => column(set, choice.column)[i] === picked);
    if (options.length > 1 || (choice.column && !choice.any && isVaried(choice.column))) shown.push([choice.label, options, picked]);
  }
  offer(figure, shown);
  const names = Object.entries(fields);
  return rows.map((i) => Object.fromEntries(names.map(([name, source]) => [name, valueOf(set, source, i)])));
}

function offer(figure, choices) {
  const place = figure.querySelector(".choices");
  const focused = document.activeElement?.name;
  const had = place.contains(document.activeElement);
  place.replaceChildren(...choices.map(([name, options, picked]) => {
    const select = element("select", { name }, ...options.map((value) => new Option(value, value, false, value === picked)));
    select.addEventListener("change", () => {
      chosen[name] = options[select.selectedIndex];
      drawAll(name);
    });
    return element("label", {}, name, select);
  }));
  if (had) place.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus();
}

// Charts

const DRAW = {
  async vega(figure, chart, rows) {
    const place = figure.querySelector(".drawing");
    const there = (value) => value !== null && value !== undefined;
    const values = rows.filter((row) => there(row.x) && there(row.y));
    const spec = { ...chart.spec, data: { values }, width: "container", autosize: { type: "fit-x", contains: "padding" } };
    const columns = place.clientWidth < NARROW ? 2 : 0;
    spec.config = { ...spec.config, legend: { ...spec.config.legend, columns } };
    for (const [axis, label] of Object.entries(chart.titles)) spec.encoding[axis].title = figure.picked[label];
    figure.view?.finalize();
    if (!values.length) {
      place.textContent = "Nothing of this choice can be drawn.";
      return;
    }
    const made = await vegaEmbed(place, spec, {
      ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: { disableDefaultStyle: true },
      logLevel: vega.Error,
    });
    figure.view = made.view;
  },
  matrices(figure, chart, rows) {
    figure.querySelector(".drawing").replaceChildren(...rows.map(({ group, labels, counts }) => {
      const size = labels.length;
      const lines = labels.map((label, i) => {
        const line = counts.slice(i * size, (i + 1) * size);
        const total = line.reduce((sum, count) => sum + count, 0);
        return [label, line.map((count) => [count.toLocaleString("en"), total ? count / total : 0])];
      });
      return grid(group, "label ↓ · predicted →", labels, lines);
    }));
  },
  pivot(figure, chart, rows) {
    const sorted = (name) => [...new Set(rows.map((row) => row[name]))].sort(COLLATOR.compare);
    const values = rows.map((row) => row.value).filter((value) => value !== null);
    const [least, largest] = [Math.min(...values), Math.max(...values)];
    const share = (value) => (largest > least ? (value - least) / (largest - least) : 0);
    const corner = `${chart.tips.row} ↓ · ${chart.tips.column} →`;
    const groups = [...new Set(rows.map((row) => row.group))];
    figure.querySelector(".drawing").replaceChildren(...groups.map((group) => {
      const lines = sorted("row").map((row) => [row, sorted("column").map((column) => {
        const found = rows.filter((each) =>
          each.group === group && each.row === row && each.column === column && each.value !== null);
        found.sort((a, b) => a.value - b.value);
        if (!found.length) return [MISSING, 0];
        const [first, last] = [found[0], found.at(-1)];
        const short = (each) => each.shown.split(" ")[0];
        const text = found.length > 1 ? `${short(first)} to ${short(last)} (${found.length})` : first.shown;
        return [text, share(first.value)];
      })]);
      return grid(group, corner, sorted("column"), lines);
    }));
  },
};

/** A small table: a line is its heading, and each cell's text with the share of its shade. */
function grid(caption, corner, headings, lines) {
  const head = (scope, text) => element("th", { scope, textContent: text, className: scope === "row" ? "w" : "" });
  const table = element("table", {},
    element("caption", { textContent: caption }),
    element("thead", {}, element("tr", {}, element("td", { className: "w dim", textContent: corner }), ...headings.map((text) => head("col", text)))),
    element("tbody", {}, ...lines.map(([name, cells]) => element("tr", {}, head("row", name), ...cells.map(([text, share]) => {
      const cell = element("td", { textContent: text });
      cell.style.setProperty("--share", share);
      return cell;
    })))));
  return scrolling(table, caption);
}

function scrolling(table, name) {
  const box = element("div", { className: "scroll", tabIndex: 0, role: "region" }, table);
  box.setAttribute("aria-label", name);
  return box;
}

function listValues(figure, chart, rows) {
  const headings = Object.keys(chart.tips);
  const head = element("tr", {}, ...headings.map((text) => element("th", { scope: "col", textContent: text })));
  const lines = rows.slice(0, PAGE).map((row) =>
    element("tr", {}, ...Object.values(chart.tips).map((name) => element("td", { textContent: row[name] ?? MISSING }))));
  const left = rows.length - lines.length;
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines));
  const said = left > 0 ? [element("p", { textContent: `and ${left.toLocaleString("en")} more` })] : [];
  figure.querySelector(".values div").replaceChildren(scrolling(table, "Values"), ...said);
}

async function draw(figure) {
  const chart = CHARTS[figure.id];
  const rows = choose(figure, chart);
  await DRAW[chart.kind](figure, chart, rows);
  const values = figure.querySelector(".values");
  if (!values) return;
  values.ontoggle = () => values.open && listValues(figure, chart, rows);
  values.ontoggle();
}

async function drawAll(label) {
  for (const figure of document.querySelectorAll("figure")) {
    const { choices } = CHARTS[figure.id];
    if (!label || choices.some((choice) => choice.label === label)) await draw(figure);
  }
}

// Light and dark

function switchTheme() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  let dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => (button.textContent = dark ? "Light" : "Dark");
  button.setAttribute("aria-label", "Switch between light and dark");
  button.addEventListener("click", () => {
    dark = !dark;
    root.style.colorScheme = dark ? "dark" : "light";
    name();
  });
  name();
  button.hidden = false;
}

switchTheme();
document.querySelectorAll(".table").forEach(enhance);
window.drawn = drawAll();
