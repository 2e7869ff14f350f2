// Two or three ticked rows side by side: differences to the first, paired over seeds.

const MOST_COMPARED = 3;
const compared = { chosen: [], node: null }; // chosen: {section, cell}

const isCompared = (cell) => compared.chosen.some((one) => one.cell === cell);

function tick(section, cell, on) {
  compared.chosen = compared.chosen.filter((one) => one.cell !== cell);
  if (on) compared.chosen.push({ section, cell });
  showCompared(section);
}

function showCompared(section) {
  document.querySelectorAll("input.tick").forEach((box) => {
    const own = compared.chosen.some(({ cell }) => cell.id === box.value);
    box.checked = own;
    box.disabled = !own && compared.chosen.length >= MOST_COMPARED;
  });
  compared.node?.remove();
  compared.node = null;
  const [{ cell: alone } = {}] = compared.chosen.length === 1 ? compared.chosen : [];
  document.querySelectorAll(".compare-told").forEach((node) => {
    node.textContent = alone ? ` ${alone.name} is ticked: tick another row, here or in another table.` : "";
  });
  if (compared.chosen.length < 2) return;
  compared.node = comparison(compared.chosen);
  section.compare.append(compared.node);
}

const runsOf = (cell) => cell.runs.map((id) => runById.get(id));

// Of two cells the differences of the seeds that both have, b minus a; value: of a run, null where it has none.
// most: what a value can be at most, from 0; no interval goes beyond.
function pairedDifference(a, b, value, most = Infinity) {
  const before = new Map(runsOf(a).map((run) => [run.seed, value(run)]));
  const pairs = runsOf(b)
    .map((run) => [before.get(run.seed), value(run)])
    .filter((pair) => pair.every(isNumber));
  const n = pairs.length;
  if (!n) return { n: 0, mean: null, low: null, high: null };
  const differences = pairs.map(([first, second]) => second - first);
  const middle = mean(differences);
  const squares = differences.reduce((sum, difference) => sum + (difference - middle) ** 2, 0);
  const half = n > 1 ? data.student[n] * Math.sqrt(squares / (n - 1)) : null;
  // Seeds that are all alike say nothing of noise.
  const independent = ![a, b].some((cell) => cell.independent === false); // of models trained anew, each
  if (half === null || half < 1e-9 || !independent) return { n, mean: middle, low: null, high: null };
  const start = mean(pairs.map(([first]) => first));
  const [least, greatest] = most === Infinity ? [-Infinity, Infinity] : [-start, most - start];
  return { n, mean: middle, low: Math.max(least, middle - half), high: Math.min(greatest, middle + half) };
}

// A line: name, the value of each cell as text, and of the further cells the difference to the first.
function comparedLine(head, cells, shown, value, { scale = 1, decimals = 1, most } = {}) {
  const [first, ...others] = cells;
  const parts = others.flatMap((cell) => {
    const seeds = Math.min(first.seeds.length, cell.seeds.length);
    const difference = pairedDifference(first, cell, value, most);
    return [html("td", {}, shown(cell)), changeCell(difference, { scale, decimals, seeds })];
  });
  return html("tr", {}, head, html("td", {}, shown(first)), ...parts);
}

function metricLines(cells) {
  return data.columns
    .filter((column) => column.main && cells.some((cell) => cellMoments(cell, column.key).n))
    .map((column) => {
      const head = html("th", { scope: "row" }, term(column.title, columnHint(column)), html("small", {}, column.what));
      const shown = (cell) => momentsText(cellMoments(cell, column.key), cell.seeds.length, column);
      return comparedLine(head, cells, shown, (run) => metricOf(run, column.key), column);
    });
}

// The accuracies of a run by group.
function accuraciesOf(run) {
  const { groups } = data.tables.find((table) => table.id === run.table);
  return new Map(data.pool[run.groups].map((value, i) => [groups[i].name, value]));
}

function groupLines(cells) {
  const everyGroup = compared.chosen.flatMap(({ section }) => section.table.groups);
  const groups = new Map(everyGroup.map((group) => [group.name, group]));
  const rows = [...groups.values()].sort((a, b) => b.forget - a.forget);
  const found = new Map(cells.flatMap(runsOf).map((run) => [run, accuraciesOf(run)]));
  return rows.map((group) => {
    const tag = group.forget ? html("span", { class: "tag" }, "forget group") : null;
    const head = html("th", { scope: "row" }, group.name, " ", tag);
    const value = (run) => found.get(run).get(group.name) ?? null;
    const shown = (cell) => {
      const own = numbers(runsOf(cell).map(value));
      return own.length ? fixed(mean(own), 1) : "-";
    };
    return comparedLine(head, cells, shown, value, { most: 100 });
  });
}

function comparedTable(title, cells, lines) {
  const [first, ...others] = cells.map(comparedName);
  const heads = ["", first, ...others.flatMap((name) => [name, `minus ${first}`])];
  return html(
    "div",
    { class: "scroll" },
    html(
      "table",
      { class: "compared" },
      html("thead", {}, html("tr", {}, ...heads.map((text, i) => html("th", { scope: "col" }, i ? text : title)))),
      html("tbody", {}, ...lines),
    ),
  );
}

// A cell's name, with the study it is of where several are compared.
function comparedName(cell) {
  const studies = unique(compared.chosen.map(({ section }) => section));
  const own = compared.chosen.find((one) => one.cell === cell).section.table;
  return studies.length > 1 ? `${cell.name} (${studied(own)})` : cell.name;
}

function settingsTold(cells) {
  const runs = cells.map(runsOf);
  const keys = unique(runs.flat().flatMap((run) => Object.keys(configOf(run))));
  const unlike = keys.filter((key) => unique(runs.map((own) => inSeeds(own, key))).length > 1);
  if (!unlike.length) return html("p", {}, "Their settings are the same.");
  const lines = unlike.map((key) =>
    html("tr", {}, html("th", { scope: "row" }, key), ...runs.map((own) => html("td", {}, inSeeds(own, key)))),
  );
  const heads = ["setting that differs", ...cells.map(comparedName)].map((text) => html("th", { scope: "col" }, text));
  return html(
    "div",
    { class: "scroll" },
    html("table", { class: "keys settings" }, html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...lines)),
  );
}

function comparison(chosen) {
  const cells = chosen.map(({ cell }) => cell);
  const close = () => {
    compared.chosen = [];
    showCompared(chosen[0].section);
  };
  const groups = groupLines(cells);
  const title = `Side by side: ${cells.map(comparedName).join("; ")}`;
  return html(
    "section",
    { class: "comparison", "aria-label": "Side by side" },
    html("div", { class: "head" }, html("h3", {}, title), closeButton(close)),
    html(
      "p",
      { class: "note" },
      "Differences are taken seed by seed, of the seeds that both have; below each its 95 % interval by Student's t, not corrected for how many there are. Bold: more than noise. Grey: too noisy to say. One seed gives no interval, nor do seeds that are all alike or share trained models.",
    ),
    comparedTable("measure", cells, metricLines(cells)),
    comparePlot(cells),
    groups.length ? comparedTable("test accuracy by group (%)", cells, groups) : null,
    settingsTold(cells),
  );
}
