// What is known of one cell: its plots, drawn when it is opened, its configuration, and the comparison with another run.

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
    "aria-label": `Details of ${cell.label}`,
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
  const close = html(
    "button",
    { type: "button", class: "controls close", on: { click: () => closeDetails(section, cell) } },
    "Close",
  );
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
    html("div", { class: "head" }, html("h3", {}, cell.label), close),
    html("p", { class: "setting" }, `${section.table.title}${seed === null ? "" : `, seed ${seed}`}`),
    seedButtons(runs, seed, choose),
    html("div", { class: "plots" }, left, right, ...wide),
    absentTold(plots),
    configuration(view),
    comparison(view),
  ]);
}

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

const shownValue = (value) =>
  value === null || value === undefined || value === ""
    ? "-"
    : typeof value === "object"
      ? JSON.stringify(value)
      : String(value);
const inSeeds = (runs, key) => unique(runs.map((run) => shownValue(run.config[key]))).join(", ");

function configuration(view) {
  const keys = unique(view.chosen.flatMap((run) => Object.keys(run.config)));
  const lines = keys.map((key) =>
    html("tr", {}, html("th", { scope: "row" }, key), html("td", {}, inSeeds(view.chosen, key))),
  );
  const folders = view.chosen.map((run) => html("li", {}, html("code", {}, run.folder)));
  return html(
    "details",
    { class: "configuration" },
    html("summary", {}, "Configuration"),
    html("ul", { class: "folders" }, ...folders),
    html("div", { class: "scroll" }, html("table", { class: "keys" }, html("tbody", {}, ...lines))),
  );
}

function runName(run) {
  return `${run.label}, seed ${run.seed}`;
}

function comparison(view) {
  const run = view.chosen[0];
  const result = html("div", { class: "scroll" });
  const show = (event) => result.replaceChildren(...differences(run, runById.get(event.target.value)));
  const groups = data.tables.map((table) => {
    const others = table.cells.flatMap((cell) => cell.runs).filter((id) => id !== run.id);
    return html(
      "optgroup",
      { label: table.title },
      ...others.map((id) => html("option", { value: id }, runName(runById.get(id)))),
    );
  });
  const box = html(
    "details",
    {
      class: "comparison",
      on: {
        toggle: (event) => {
          if (event.target.open && !select.options.length)
            select.append(html("option", { value: "" }, "choose a run"), ...groups);
        },
      },
    },
    html("summary", {}, "What differs from another run"),
  );
  const select = html("select", { on: { change: show } });
  box.append(html("label", { class: "controls" }, `${runName(run)}, compared with: `, select), result);
  return box;
}

function differences(run, other) {
  if (!other) return [];
  const keys = unique([...Object.keys(run.config), ...Object.keys(other.config)]);
  const unlike = keys.filter((key) => shownValue(run.config[key]) !== shownValue(other.config[key]));
  if (!unlike.length) return [html("p", {}, "Their configurations are the same.")];
  const line = (tag, cells) => html("tr", {}, ...cells.map((text, i) => html(i ? tag : "th", {}, text)));
  const lines = unlike.map((key) => line("td", [key, shownValue(run.config[key]), shownValue(other.config[key])]));
  return [
    html(
      "table",
      { class: "keys" },
      html("thead", {}, line("th", ["key", runName(run), runName(other)])),
      html("tbody", {}, ...lines),
    ),
  ];
}
