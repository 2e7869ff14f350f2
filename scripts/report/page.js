// The page: what was studied, contents, one section a table, runs that are in no table, and what words mean.

const state = { all: false, each: false, difference: false, words: [] };
const FEW = 4; // so many tables stand open at first

// What was asked of a table's runs, as a heading: fairface: 50 % of 9 groups forgotten.
function studied(table) {
  const groups = table.forget_groups;
  if (!table.task) return `${table.dataset}: original models`;
  if (table.task.startsWith("list")) return `${table.dataset}: the images of ${table.task} forgotten`;
  const share = `${fixed(100 * table.ratio, 1).replace(/\.0$/, "")} %`;
  if (table.task === "random" || !groups.length) return `${table.dataset}: ${share} of all training images forgotten`;
  return `${table.dataset}: ${share} of ${groups.length === 1 ? groups[0] : `${groups.length} groups`} forgotten`;
}

const settingTold = (table) =>
  `${table.model}, ${table.image_size} pixels, weights ${table.weights}${table.task ? `, ${table.task}` : ""}`;

function newSection(table, open) {
  const section = { table, state, sort: null, open: new Map() };
  section.grid = scrollBox("Every method in numbers");
  section.told = html("p", { class: "note" });
  section.details = html("div", {});
  section.compare = html("div", {});
  section.body = html("div", { class: "body" });
  section.count = html("span", { class: "count" });
  const fillOnce = () => section.node.open && !section.body.childNodes.length && fillSection(section);
  section.node = html(
    "details",
    { class: "table", id: table.id, open, on: { toggle: fillOnce } },
    html("summary", {}, html("h2", {}, studied(table)), section.count),
    section.body,
  );
  if (open) fillSection(section);
  return section;
}

function openSection(section) {
  section.node.open = true;
  if (!section.body.childNodes.length) fillSection(section);
}

function fillSection(section) {
  const { table } = section;
  fill(section.body, {}, [
    html("p", { class: "setting" }, settingTold(table)),
    storyList(table.story),
    tradeOffPlot(table),
    groupBox(section),
    measures(section),
    section.compare,
    section.details,
    attackPlot(table),
    auditBox(section),
    fold("Figure of the main columns", () => overviewPlot(table)),
    notes(table),
  ]);
  drawTable(section);
}

function measures(section) {
  return html(
    "section",
    { class: "part" },
    html("h3", {}, "Every method in numbers"),
    html("p", { class: "note" }, section.table.reference),
    section.told,
    html(
      "p",
      { class: "note controls" },
      "A method's name opens its figures. Tick two or three to see them side by side.",
      html("span", { class: "compare-told", "aria-live": "polite" }),
    ),
    section.grid,
  );
}

// A closed fold whose content is made when it is first opened.
function fold(title, make) {
  const box = html("details", { class: "fold" }, html("summary", {}, title));
  box.addEventListener("toggle", () => {
    if (box.open && box.childNodes.length === 1) box.append(make());
  });
  return box;
}

function notes(table) {
  const signal = isNumber(table.mia_baseline)
    ? [`Without any signal MIA reads about ${fixed(table.mia_baseline, 0)}.`]
    : [];
  const lines = [...signal, ...table.notes].map((note) => html("li", {}, note));
  return lines.length ? fold(`Notes (${lines.length})`, () => html("ul", { class: "notes" }, ...lines)) : null;
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
    drawTables(section);
  });
  document.getElementById("found").textContent = state.words.length
    ? `${countTold(rows, "row")} in ${countTold(shown, "table")}. The sentences and figures are of all rows.`
    : "";
}

function drawTables(section, most) {
  if (section.body.childNodes.length) drawTable(section, most);
  if (section.groups) drawGroupTable(section, most);
  if (section.audit) drawAudit(section);
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
      html("input", { type: "search", id: "filter", placeholder: "data set, method", on: { input: filter } }),
    ),
    box("all", "all columns"),
    box("each", "each run"),
    box("difference", "difference to the retrained model"),
    html("output", { id: "found", "aria-live": "polite" }),
  );
}

// A study: what was forgotten, and what methods harmed most of the forget groups and of the others; variants come after.
function contents() {
  const seen = new Set();
  sections.forEach((section) => {
    const { table } = section;
    const open = () => {
      section.node.open = true;
    };
    const link = html("a", { href: `#${table.id}`, on: { click: open } }, studied(table));
    const told = (about) => table.story.filter((one) => one.about === about);
    const harm = told("harm").slice(0, table.forget_groups.length ? 2 : 1);
    const own = harm.length ? harm : [...told("forget_groups"), ...told("missing")].slice(0, 1);
    const sentences = own.map(({ text }) => html("p", {}, ...termed(text, seen)));
    section.line = html("li", {}, link, html("small", {}, settingTold(table)), ...sentences);
  });
  if (sections.length < 2) return;
  document
    .getElementById("contents")
    .append(
      html(
        "details",
        { open: sections.length <= 12 },
        html("summary", {}, `${sections.length} studies, and what was harmed most in each`),
        html("ol", {}, ...sections.map((section) => section.line)),
      ),
    );
}

function missing() {
  const node = document.getElementById("missing");
  if (!data.missing.length) {
    node.hidden = true;
    return;
  }
  const reasons = new Map(data.missing.map((run) => [run.problem, []]));
  for (const run of data.missing) {
    reasons.get(run.problem).push(html("div", {}, html("code", {}, run.folder)));
  }
  const lines = [...reasons].map(([reason, folders]) =>
    html("tr", {}, html("th", { scope: "row" }, ...folders), html("td", {}, reason)),
  );
  node.append(
    html("h2", { id: "missing-title" }, `Not in the tables: ${countTold(data.missing.length, "run")}`),
    html(
      "details",
      { class: "fold" },
      html("summary", {}, "Which, and why"),
      html("div", { class: "scroll limited" }, html("table", { class: "keys" }, html("tbody", {}, ...lines))),
    ),
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
        "Several seeds: mean ± sample standard deviation; one seed has none. [k]: only k of the seeds have the value. A dash: none has; the notes below a table say why. ",
        html("strong", {}, "Bold"),
        ": the one best of the unlearned models; nothing where several are best to the decimals shown, or only one competes. Pretrained and retrained models do not compete. The reference is the retrained model of the same data, forget set and seed; with REWEIGHT for MIU and reweighted methods. A difference is taken seed by seed, then averaged.",
      ),
      html(
        "div",
        { class: "scroll" },
        html("table", { class: "keys" }, html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...lines)),
      ),
      glossaryList() || "",
    );
}

// page.html#t0 opens a table, page.html#t0c3 a cell.
function openNamed() {
  const name = decodeURIComponent(location.hash.slice(1));
  const section = sections.find(({ table }) => table.id === name || table.cells.some((cell) => cell.id === name));
  if (!section) return;
  openSection(section);
  const cell = section.table.cells.find(({ id }) => id === name);
  if (cell && !section.open.has(cell.id)) openDetails(section, cell, null);
}

function headline() {
  const datasets = unique(data.tables.map((table) => table.dataset));
  if (!data.tables.length) return "Unlearning: no finished run";
  if (data.tables.length === 1) return `Unlearning on ${studied(data.tables[0])}`;
  return `Unlearning: ${data.tables.length} studies on ${datasets.join(", ")}`;
}

const sections = data.tables.map((table, i) => newSection(table, i < FEW));
const folders = unique(data.runs.filter((run) => run.cell).map((run) => run.folder)).length;
document.title = headline();
document.querySelector("h1").textContent = headline();
document.getElementById("summary").textContent =
  `${countTold(folders, "run")} in ${countTold(data.tables.length, "table")}, from ${data.path}.`;
document.getElementById("tables").append(...sections.map((section) => section.node));
controls();
contents();
missing();
legend();
redraw();
watchHints();
openNamed();
window.addEventListener("hashchange", openNamed);
// Paper does not scroll: a wide table is printed in parts, one below the other.
const ON_PAPER = 9; // columns
// Every study is printed, those that are closed too.
let closed = [];
window.addEventListener("beforeprint", () => {
  closed = sections.filter(({ node }) => !node.open);
  closed.forEach(openSection);
  sections.forEach((section) => drawTables(section, ON_PAPER));
  drawShown(PAPER);
});
window.addEventListener("afterprint", () => {
  closed.forEach(({ node }) => (node.open = false));
  sections.forEach((section) => drawTables(section));
  drawShown(null);
});
