// What is known of one cell: what happened, its plots, drawn when it is opened, and its configuration.

function toggleDetails(section, cell, run) {
  const shown = section.open.get(cell.id);
  if (shown && (!run || shown.seed === run.seed)) return closeDetails(section, cell);
  openDetails(section, cell, run ? run.seed : null);
}

function closeDetails(section, cell) {
  section.open.get(cell.id).node.remove();
  section.open.delete(cell.id);
  drawTable(section);
}

function openDetails(section, cell, seed) {
  const before = section.open.get(cell.id);
  const panelNode = html("section", {
    class: "details",
    id: cell.id,
    tabindex: "-1",
    "aria-label": `Details of ${cell.name}`,
  });
  section.open.set(cell.id, { node: panelNode, seed });
  drawDetails(section, cell, panelNode, cell.seeds.length === 1 ? cell.seeds[0] : seed);
  if (before) before.node.replaceWith(panelNode);
  else section.details.append(panelNode);
  drawTable(section);
  panelNode.scrollIntoView({ block: "start" });
  panelNode.focus({ preventScroll: true });
}

function drawDetails(section, cell, node, seed) {
  const runs = cell.runs.map((id) => runById.get(id));
  const view = { cell, runs, seed, chosen: seed === null ? runs : runs.filter((run) => run.seed === seed) };
  const choose = (value) => {
    section.open.get(cell.id).seed = value;
    drawDetails(section, cell, node, value);
    [...node.querySelectorAll(".seeds button")].find((button) => button.dataset.seed === String(value)).focus();
  };
  const plots = [groupPlot, lossPlot, countPlot, curvePlot, informationPlot].map((plot) => plot(view));
  const [groups, losses, forgotten, ...wide] = plots;
  const left = html("div", {}, groups, forgotten);
  const right = losses;
  node.replaceChildren();
  fill(node, {}, [
    html("div", { class: "head" }, html("h3", {}, cell.name), closeButton(() => closeDetails(section, cell))),
    html("p", { class: "setting" }, `${studied(section.table)}${seed === null ? "" : `, seed ${seed}`}`),
    storyList(cell.story),
    seedButtons(runs, seed, choose),
    html("div", { class: "plots" }, left, right, ...wide),
    absentTold(plots),
    seed === null ? apartTable(cell) : null,
    configuration(view),
  ]);
}

const closeButton = (close) =>
  html("button", { type: "button", class: "controls close", on: { click: close } }, "Close");

function seedButtons(runs, seed, choose) {
  const choices = runs.length > 1 ? [null, ...runs.map((run) => run.seed)] : runs.map((run) => run.seed);
  const buttons = choices.map((value) =>
    html(
      "button",
      {
        type: "button",
        "data-seed": String(value),
        "aria-pressed": String(value === seed),
        on: { click: () => choose(value) },
      },
      value === null ? "all seeds" : `seed ${value}`,
    ),
  );
  return html("div", { class: "seeds controls", role: "group", "aria-label": "Seeds" }, ...buttons);
}

function absentTold(plots) {
  const names = [
    "accuracy by group (metrics.json has no groups)",
    "losses (no records or splits to read)",
    "counts (metrics.json has no groups)",
    "training curves (no history.csv to read)",
  ];
  const absent = names.filter((_, i) => !plots[i]);
  return absent.length ? html("p", { class: "note" }, `Not shown: ${absent.join("; ")}.`) : null;
}

// What training adds to the deviation, and what unlearning adds; null where runs are not nested and balanced.
function apartTable(cell) {
  if (!cell.design) return null;
  const columns = data.columns.filter((column) => column.main && cell.apart[column.key]);
  const shown = (column, [value, low, high]) => {
    const [middle, ...ends] = [value, low, high].map((one) => minus(fixed(one * column.scale, column.decimals)));
    return `${middle} (${ends.join(" to ")})`;
  };
  const lines = columns.map((column) => {
    const { mean: average, train, unlearn } = cell.apart[column.key];
    const cells = [average, train, unlearn].map((part) => html("td", {}, shown(column, part)));
    return html("tr", {}, html("th", { scope: "row" }, term(column.title, columnHint(column))), ...cells);
  });
  const heads = ["", "mean", "sd of training", "sd of unlearning"].map((text) => html("th", { scope: "col" }, text));
  const { train_seeds: trained, runs_of_each: runs } = cell.design;
  const told = `${trained} train seeds with ${runs} runs each, all of one forget set. In brackets 95 % intervals: the mean's over the train seeds; those of the standard deviations take values to be normal.`;
  return html(
    "section",
    { class: "apart", "aria-label": "Training and unlearning apart" },
    html("h4", {}, "Training and unlearning apart"),
    html("p", { class: "note" }, told),
    html(
      "div",
      { class: "scroll" },
      html("table", {}, html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...lines)),
    ),
  );
}

const shownValue = (value) =>
  value === null || value === undefined || value === ""
    ? "-"
    : typeof value === "object"
      ? JSON.stringify(value)
      : String(value);
const configOf = (run) => ({ ...data.settings, ...run.config });
const inSeeds = (runs, key) => unique(runs.map((run) => shownValue(configOf(run)[key]))).join(", ");

function configuration(view) {
  const keys = unique(view.chosen.flatMap((run) => Object.keys(configOf(run))));
  const lines = keys.map((key) =>
    html("tr", {}, html("th", { scope: "row" }, key), html("td", {}, inSeeds(view.chosen, key))),
  );
  const folders = view.chosen.map((run) => html("li", {}, html("code", {}, run.folder)));
  return html(
    "details",
    { class: "configuration fold" },
    html("summary", {}, "Configuration"),
    html("ul", { class: "folders" }, ...folders),
    html("div", { class: "scroll" }, html("table", { class: "keys" }, html("tbody", {}, ...lines))),
  );
}
