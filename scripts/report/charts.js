// Charts: charts.py defines each; here its rows are unpacked, and Vega draws it once it comes into view.

const chartDefinitions = data.charts;

// Records from blocks: the values of the chart's constants, and for every other field the number of its list.
function chartRows(chart, blocks) {
  const { constants, fields } = chart;
  return blocks.flatMap((block) => {
    const fixed = Object.fromEntries(constants.map((name, i) => [name, block[i]]));
    const lists = (fields || []).map((name, i) => [name, data.pool[block[constants.length + i]]]);
    const length = lists.length ? lists[0][1].length : 0;
    return Array.from({ length }, (_, row) =>
      Object.fromEntries([...Object.entries(fixed), ...lists.map(([name, list]) => [name, list[row]])]),
    );
  });
}

const longestText = (rows, field) =>
  data.letter * Math.max(0, ...rows.flatMap((row) => String(row[field] ?? "").split("\n")).map((line) => line.length));

// Step in px and rows that are no higher than `tallest` together; where a row is too low for two lines, its label has one.
function shortened(chart, rows, tallest) {
  const { step } = chart.spec.height ?? chart.spec.spec.height;
  const low = tallest / unique(rows.map((row) => row.label)).length;
  if (!step || low >= step) return [step, rows];
  if (low >= TWO_LINES) return [low, rows];
  return [low, rows.map((row) => ({ ...row, label: row.label.replaceAll("\n", " ") }))];
}

// The specification with its rows for a width in px; figures.py has the same for files. tallest: on paper, px of rows.
function fitted(chart, all, width, tallest = Infinity) {
  const spec = structuredClone(chart.spec);
  const roomBeside = (rows) => width - Math.max(chart.legend === "label" ? 0 : longestText(rows, "label"), 60);
  const [least, between] = chart.panel ?? [Infinity, 0];
  const panels = unique(all.map((row) => row.panel)).length;
  const narrowest = tallest < Infinity ? least * NARROWER : least;
  const columns = Math.max(1, Math.min(panels, Math.floor(roomBeside(all) / narrowest)));
  const [step, rows] = shortened(chart, all, tallest / Math.ceil(panels / columns));
  const room = roomBeside(rows);
  const across = Math.max(1, Math.floor(room / (data.key_room + longestText(rows, chart.legend))));
  const legend = { ...data.config.legend, columns: across, labelLimit: room - data.key_room };
  Object.assign(spec, { data: { values: rows }, description: chart.title, config: { ...data.config, legend } });
  if (!chart.panel) {
    if (step) spec.height = step * unique(rows.map((row) => row.label)).length;
    return Object.assign(spec, { width, autosize: { type: "fit-x", contains: "padding" } });
  }
  spec.columns = columns;
  spec.spacing.column = between;
  spec.spec.width = room / columns - between;
  if (step) spec.spec.height = { step };
  return spec;
}

// One box says the numbers of the mark that is pointed at or has the focus.
const bubble = html("div", { class: "bubble", role: "status", hidden: true });
function say(text, x, y) {
  bubble.hidden = !text;
  if (!text) return;
  if (!bubble.isConnected) document.body.append(bubble);
  bubble.textContent = text;
  bubble.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - bubble.offsetWidth - 8))}px`;
  bubble.style.top = `${y + 16 + bubble.offsetHeight > innerHeight ? y - bubble.offsetHeight - 10 : y + 16}px`;
}

// A chart is drawn when it is first seen, and again when its width changes.
const seen = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => drawChart(entry.target)),
  { rootMargin: "400px" },
);
const resized = new ResizeObserver((entries) =>
  entries.forEach(({ target }) => target.clientWidth && target.clientWidth !== target.drawn && drawChart(target)),
);
const pictures = new Set();
const PAPER = { width: 688, rows: 780 }; // px between the margins of A4, and down what is left to the rows of a chart
const TWO_LINES = 24; // px
const NARROWER = 0.75; // how wide a panel may be on paper, of the least width on a screen
function drawShown(paper) {
  pictures.forEach((box) => {
    if (!box.isConnected) pictures.delete(box);
    else if (box.clientWidth) drawChart(box, paper ? Math.min(box.clientWidth, paper.width) : undefined, paper?.rows);
  });
}

async function drawChart(box, width = box.clientWidth, tallest = Infinity) {
  const { chart, rows, params } = box.picture;
  if (!box.drawn) resized.observe(box);
  seen.unobserve(box);
  box.drawn = box.clientWidth;
  const spec = fitted(chart, rows, width, tallest);
  const values = { ...params, series: unique(rows.map((row) => row[chart.legend])) };
  spec.params = spec.params.map((param) => ({ ...param, value: values[param.name] ?? param.value }));
  const options = { mode: "vega-lite", ast: true, actions: false, renderer: "svg", defaultStyle: false, logLevel: 1 };
  options.tooltip = (_, event, item, text) => say(event && text, event?.clientX, event?.clientY);
  if (box.view) box.view.finalize();
  box.view = (await vegaEmbed(box, spec, options)).view;
  box.style.minHeight = "";
  reachMarks(box);
}

// The marks that say numbers are one stop of the tabulator key; arrows go from one to the next.
function reachMarks(box) {
  const marks = [...box.querySelectorAll(".told_marks > [aria-label]")];
  marks.forEach((mark, i) => {
    mark.setAttribute("tabindex", i ? "-1" : "0");
    mark.addEventListener("focus", () => {
      const { left, bottom } = mark.getBoundingClientRect();
      say(mark.getAttribute("aria-label"), left, bottom);
    });
    mark.addEventListener("blur", () => say(""));
    mark.addEventListener("keydown", (event) => {
      const last = marks.length - 1;
      const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -i, End: last - i };
      const step = steps[event.key];
      if (event.key === "Escape") say("");
      if (step === undefined) return;
      event.preventDefault();
      const next = marks[Math.min(last, Math.max(0, i + step))];
      mark.setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    });
  });
}

// What the marks show, as a table: one line a mark.
function numbersOf(box) {
  const { numbers } = box.picture.chart;
  const found = [];
  const walk = (node) => {
    const isTold = node.marktype && node.name && node.name.endsWith("told_marks");
    if (isTold) found.push(...node.items.map((item) => item.datum));
    else if (node.items) node.items.forEach(walk);
  };
  walk(box.view.scenegraph().root);
  const shown = (value) =>
    isNumber(value) ? minus(String(Number.isInteger(value) ? value : Number(value.toPrecision(4)))) : (value ?? "-");
  const line = (tag, cells) => html("tr", {}, ...cells.map((text) => html(tag, {}, String(text))));
  const lines = found.map((record) => line("td", Object.values(numbers).map((field) => shown(record[field]))));
  const head = html("thead", {}, line("th", Object.keys(numbers)));
  return html("table", { class: "numbers" }, head, html("tbody", {}, ...lines));
}

function chartFigure(name, title, rows, told, seed = null) {
  const chart = chartDefinitions[name];
  if (!rows.length) return null;
  const box = html("div", { class: "picture" });
  box.picture = { chart, rows, params: { seed: seed ?? "all" } };
  box.style.minHeight = "180px";
  pictures.add(box);
  seen.observe(box);
  const order = (event) => {
    box.picture.params.order = event.target.selectedIndex;
    drawChart(box);
  };
  const orders = chart.orders.map((text) => html("option", {}, text));
  const select = html("select", { on: { change: order } }, ...orders);
  const choice = orders.length ? html("label", { class: "controls" }, "Order: ", select) : null;
  const grid = html("div", { class: "scroll limited" });
  const open = async (event) => {
    if (!event.target.open) return;
    if (!box.view) await drawChart(box);
    grid.replaceChildren(numbersOf(box));
  };
  const fold = html("details", { class: "figures", on: { toggle: open } }, html("summary", {}, "The numbers"), grid);
  const caption = html("figcaption", {}, [told, chart.caption].filter(Boolean).join(" "));
  const room = html("div", { class: "label" in rows[0] && !chart.panel ? "tall" : null }, box);
  const names = `plot ${name}${chart.panel ? " wide" : ""}`;
  return html("figure", { class: names, "data-plot": name }, html("h4", {}, title), choice, room, caption, fold);
}

const seedsTold = (view) =>
  view.seed === null && view.runs.length > 1 ? `${view.runs.length} seeds` : `seed ${view.chosen[0].seed}`;

// view: {cell, runs: all of its runs, chosen: those of the seed buttons, seed: or null for all}.
function cellPlot(name, view) {
  const chart = chartDefinitions[name];
  const [blocks, told] = data.rows[view.cell.id][name];
  const seed = view.runs.length > 1 ? view.seed : null;
  const said = typeof told === "string" ? told : told[seed ?? "all"];
  return chartFigure(name, `${chart.title}, ${seedsTold(view)}`, chartRows(chart, blocks), said, seed);
}

function tablePlot(name, table) {
  const chart = chartDefinitions[name];
  const [blocks, told] = data.rows[table.id][name];
  return chartFigure(name, chart.title, chartRows(chart, blocks), told);
}

const groupPlot = (view) => cellPlot("groups", view);
const lossPlot = (view) => cellPlot("losses", view);
const countPlot = (view) => cellPlot("counts", view);
const curvePlot = (view) => cellPlot("curves", view);
const informationPlot = (view) => cellPlot("information", view);
const tradeOffPlot = (table) => tablePlot("trade-off", table);
const attackPlot = (table) => tablePlot("attack", table);
const overviewPlot = (table) => tablePlot("overview", table);

// Test accuracy by group of two or more cells on common axes, each over all of its seeds.
function comparePlot(cells) {
  const chart = chartDefinitions.groups;
  const rows = cells.flatMap((cell) =>
    chartRows(chart, data.rows[cell.id].groups[0])
      .filter((row) => row.role === "after")
      .map((row) => ({ ...row, model: cell.name })),
  );
  return chartFigure("compare", chartDefinitions.compare.title, rows, "");
}
