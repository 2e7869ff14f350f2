// The page: controls, contents, one section a table, runs that are in no table, and what the columns mean.

const state = { all: false, each: false, difference: false, words: [] };
const FEW = 4; // so many tables stand open at first

function newSection(table, open) {
  const section = { table, state, sort: null, open: new Map() };
  section.grid = html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": table.title });
  section.details = html("div", {});
  section.body = html("div", { class: "body" });
  section.count = html("span", { class: "count" });
  const fillOnce = () => section.node.open && !section.body.childNodes.length && fillSection(section);
  section.node = html(
    "details",
    { class: "table", id: table.id, open, on: { toggle: fillOnce } },
    html("summary", {}, html("h2", {}, table.title), section.count),
    section.body,
  );
  if (open) fillSection(section);
  return section;
}

function fillSection(section) {
  fill(section.body, {}, [
    ...facts(section.table),
    section.grid,
    notes(section.table),
    overviewBox(section.table),
    section.details,
  ]);
  drawTable(section);
}

function facts(table) {
  if (!table.forget_groups.length) return [];
  const first = table.forget_groups.slice(0, 4).join("; ");
  const more = table.forget_groups.length > 4 ? ` and ${table.forget_groups.length - 4} more` : "";
  const signal = isNumber(table.mia_baseline)
    ? ` Without any signal MIA reads about ${fixed(table.mia_baseline, 0)}.`
    : "";
  return [
    html(
      "p",
      { class: "facts", title: table.forget_groups.join("\n") },
      html("b", {}, "Forget groups: "),
      `${first}${more}.${signal}`,
    ),
  ];
}

function notes(table) {
  return table.notes.length ? html("ul", { class: "notes" }, ...table.notes.map((note) => html("li", {}, note))) : null;
}

function overviewBox(table) {
  const box = html("details", { class: "overview-box" }, html("summary", {}, "Plot of all rows"));
  box.addEventListener("toggle", () => {
    if (box.open && box.childNodes.length === 1) box.append(overviewPlot(table));
  });
  return box;
}

const countTold = (n, one) => `${n} ${one}${n === 1 ? "" : "s"}`;

function redraw() {
  let rows = 0;
  const fitting = sections.map(
    (section) => section.table.cells.filter((cell) => fits(rowWords(section.table, cell), state)).length,
  );
  const shown = fitting.filter((n) => n > 0).length;
  sections.forEach((section, i) => {
    rows += fitting[i];
    section.node.hidden = !fitting[i];
    section.count.textContent = countTold(fitting[i], "row");
    section.line.hidden = !fitting[i];
    if (state.words.length && fitting[i] && shown <= FEW) section.node.open = true;
    if (section.body.childNodes.length) drawTable(section);
  });
  document.getElementById("found").textContent = state.words.length
    ? `${countTold(rows, "row")} in ${countTold(shown, "table")}`
    : "";
}

function controls() {
  const filter = (event) => {
    state.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    redraw();
  };
  const box = (name, text) => {
    const input = html("input", {
      type: "checkbox",
      id: `show-${name}`,
      on: {
        change: (event) => {
          state[name] = event.target.checked;
          redraw();
        },
      },
    });
    return html("label", {}, input, ` ${text}`);
  };
  const form = document.getElementById("controls");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.append(
    html(
      "label",
      {},
      "Filter: ",
      html("input", { type: "search", id: "filter", placeholder: "data set, task, method", on: { input: filter } }),
    ),
    box("all", "all columns"),
    box("each", "each run"),
    box("difference", "difference to the retrained model"),
    html("output", { id: "found", "aria-live": "polite" }),
  );
}

function contents() {
  const heads = ["data set", "model", "task", "ratio", "rows", "runs"].map((text) =>
    html("th", { scope: "col" }, text),
  );
  sections.forEach((section) => {
    const { table } = section;
    const runs = table.cells.reduce((sum, cell) => sum + cell.runs.length, 0);
    const open = () => {
      section.node.open = true;
    };
    const link = html("a", { href: `#${table.id}`, on: { click: open } }, table.dataset);
    const cells = [
      `${table.model}, ${table.image_size} px`,
      table.task || "-",
      table.task ? String(table.ratio) : "-",
      table.cells.length,
      runs,
    ];
    section.line = html(
      "tr",
      {},
      html("th", { scope: "row" }, link),
      ...cells.map((text) => html("td", {}, String(text))),
    );
  });
  if (sections.length < 2) return;
  const lines = sections.map((section) => section.line);
  const grid = html(
    "table",
    { class: "contents" },
    html("thead", {}, html("tr", {}, ...heads)),
    html("tbody", {}, ...lines),
  );
  document
    .getElementById("contents")
    .append(
      html(
        "details",
        { open: sections.length <= 12 },
        html("summary", {}, `${sections.length} tables`),
        html("div", { class: "scroll" }, grid),
      ),
    );
}

function missing() {
  const node = document.getElementById("missing");
  if (!data.missing.length) {
    node.hidden = true;
    return;
  }
  const lines = data.missing.map((run) =>
    html("tr", {}, html("th", { scope: "row" }, html("code", {}, run.folder)), html("td", {}, run.problem)),
  );
  node.append(
    html("h2", { id: "missing-title" }, `Not in the tables: ${countTold(data.missing.length, "run")}`),
    html("div", { class: "scroll limited" }, html("table", { class: "keys" }, html("tbody", {}, ...lines))),
  );
}

const BEST = { reference: "closest to the reference (bold among differences)", high: "highest", low: "lowest" };

function legend() {
  const lines = data.columns.map((column) =>
    html(
      "tr",
      {},
      html("th", { scope: "row" }, column.title),
      html("td", {}, column.what),
      html("td", {}, column.unit),
      html("td", {}, BEST[column.best] || "-"),
    ),
  );
  const heads = ["column", "meaning", "unit", "best"].map((text) => html("th", { scope: "col" }, text));
  document
    .getElementById("legend")
    .append(
      html("h2", { id: "legend-title" }, "What the columns mean"),
      html(
        "p",
        {},
        "Several seeds: mean ± sample standard deviation; one seed has none. [k]: only k of the seeds have the value. A dash: none has; point at it for the reason. ",
        html("strong", {}, "Bold"),
        ": the one best of the unlearned models; nothing where several are best to the decimals shown, or only one competes. Pretrained and retrained models do not compete. The reference is the retrained model of the same data, forget set and seed; with REWEIGHT for MIU and reweighted methods. A difference is taken seed by seed, then averaged.",
      ),
      html(
        "div",
        { class: "scroll" },
        html("table", { class: "keys" }, html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...lines)),
      ),
    );
}

// page.html#t0 opens a table, page.html#t0c3 a cell.
function openNamed() {
  const name = decodeURIComponent(location.hash.slice(1));
  const section = sections.find(({ table }) => table.id === name || table.cells.some((cell) => cell.id === name));
  if (!section) return;
  section.node.open = true;
  if (!section.body.childNodes.length) fillSection(section);
  const cell = section.table.cells.find(({ id }) => id === name);
  if (cell && !section.open.has(cell.id)) openDetails(section, cell, null);
}

const sections = data.tables.map((table, i) => newSection(table, i < FEW));
const folders = unique(data.runs.filter((run) => run.cell).map((run) => run.folder)).length;
document.getElementById("summary").textContent =
  `${countTold(folders, "run")} in ${countTold(data.tables.length, "table")}, from ${data.path}. ` +
  "Click a row for its plots, a column's title to sort.";
document.getElementById("tables").append(...sections.map((section) => section.node));
controls();
contents();
missing();
legend();
redraw();
openNamed();
window.addEventListener("hashchange", openNamed);
