// The plots of a cell. A view is {cell, runs: all of its runs, chosen: those of the seed buttons, seed: or null for all}.

const { roles, sets, information, counts, kinds, seeds: seedLooks } = data.look;

const seedLook = (run, view) => {
  const place = view.runs.indexOf(run);
  return { ...seedLooks[place % seedLooks.length], label: `seed ${run.seed}` };
};
const seedsTold = (view) =>
  view.seed === null && view.runs.length > 1 ? `mean over ${view.runs.length} seeds` : `seed ${view.chosen[0].seed}`;

// Histogram of a set's loss as shares in percent, averaged over the runs; null without samples.
function lossShares(runs, name) {
  const shares = runs.filter((run) => name in run.losses).map((run) => data.pool[run.losses[name]]);
  const totals = shares.map((list) => list.reduce((sum, count) => sum + count, 0));
  const kept = shares
    .filter((_, i) => totals[i] > 0)
    .map((list) => list.map((count) => (100 * count) / list.reduce((a, b) => a + b, 0)));
  if (!kept.length) return null;
  return { shares: kept[0].map((_, i) => mean(kept.map((list) => list[i]))), n: unique(totals) };
}

function attackTold(view) {
  const own = (key) => {
    const values = numbers(view.chosen.map((run) => run.metrics[key]));
    if (!values.length) return `none (${view.chosen[0].reasons[key] || "not computed by this run"})`;
    if (view.chosen.length > 1)
      return `${momentsText(cellMoments(view.cell, key), view.runs.length, { scale: 1, decimals: 1 })} (mean ± sd over seeds)`;
    const deviation = view.chosen[0].metrics[`${key}_sd`];
    return fixed(values[0], 1) + (isNumber(deviation) ? ` ± ${fixed(deviation, 1)} (5 draws)` : "");
  };
  return `Balanced attack by the loss, forget set against val and test, AUC in percent: ${own("mia_auc")}; with non-members of the forget groups alone: ${own("mia_group_auc")}. 50: the loss does not tell who was in the forget set.`;
}

function lossPlot(view) {
  const runs = view.chosen.filter((run) => "edges" in run.losses);
  if (!runs.length) return null;
  const edges = data.pool[runs[0].losses.edges];
  const found = Object.keys(sets)
    .map((name) => [name, lossShares(runs, name)])
    .filter(([, own]) => own);
  if (!found.length) return null;
  const box = { left: 56, right: 606, top: 12, bottom: 270 };
  const told = `Histograms of the loss: share of ${found.map(([name]) => name).join(", ")} by log10 of the loss`;
  const root = canvas(620, 312, told);
  const top = Math.max(...found.flatMap(([, own]) => own.shares)) * 1.05;
  const scale = axes(
    root,
    box,
    { low: edges[0], high: edges.at(-1), title: "log10 of the loss (nats)", wanted: 10 },
    { low: 0, high: top, title: "share of the set (%)" },
  );
  found.reverse().forEach(([name, own]) => root.append(steps(edges, own.shares, scale, sets[name])));
  const looks = found.reverse().map(([name, own]) => ({
    ...sets[name],
    label: `${name} (n = ${own.n.length > 1 ? `${Math.min(...own.n)} to ${Math.max(...own.n)}` : own.n[0]})`,
  }));
  const caption = `The first bin holds all smaller losses, the last all larger ones. ${attackTold(view)}`;
  return figure("losses", `Loss by set, ${seedsTold(view)}`, root, looks, caption);
}

function steps(edges, shares, scale, look) {
  const parts = shares.map((share, i) => `V${scale.y(share).toFixed(1)}H${scale.x(edges[i + 1]).toFixed(1)}`);
  const dash = look.dash.length ? look.dash.join(" ") : null;
  const d = `M${scale.x(edges[0])},${scale.y(0)}${parts.join("")}V${scale.y(0)}`;
  return svg("path", {
    class: look.label === "forget" ? "line area" : "line",
    d,
    stroke: look.color,
    "stroke-dasharray": dash,
  });
}

const historyOf = (run, key) => (key in run.history ? data.pool[run.history[key]] : null);

// One small plot over the epochs; lines: {values, epochs, look, faint}.
function panel(title, unit, lines) {
  const root = canvas(310, 220, `${title} over the epochs`);
  const values = numbers(lines.flatMap((line) => line.values));
  const last = Math.max(1, ...lines.flatMap((line) => line.epochs));
  const x = { low: 0, high: last, title: "epoch", marks: ticks(0, last, 5).filter(Number.isInteger) };
  const scale = axes(root, { left: 76, right: 304, top: 26, bottom: 178 }, x, { ...spread(values), title: unit });
  root.append(svg("text", { x: 76, y: 15, class: "panel" }, title));
  lines.forEach((line) => {
    root.append(path(line.epochs, line.values, scale, line.look, { class: line.faint ? "line faint" : "line" }));
    if (line.values.length > 12 || line.faint) return;
    line.values.forEach(
      (value, i) => isNumber(value) && root.append(marker(line.look, scale.x(line.epochs[i]), scale.y(value), 2.6)),
    );
  });
  return root;
}

function seedLines(view, key) {
  const runs = view.runs.filter((run) => historyOf(run, key));
  return runs.map((run) => ({
    values: historyOf(run, key),
    epochs: historyOf(run, "epoch") || historyOf(run, key).map((_, i) => i),
    look: seedLook(run, view),
    faint: !view.chosen.includes(run),
  }));
}

function curvePlot(view) {
  const panels = data.curves
    .map(({ key, title }) => [title, seedLines(view, key)])
    .filter(([, lines]) => lines.some((line) => numbers(line.values).length))
    .map(([title, lines]) => panel(title.replace(/ \(.*\)$/, ""), title, lines));
  if (!panels.length) return null;
  const looks = view.runs.length > 1 ? view.runs.map((run) => seedLook(run, view)) : [];
  return figure(
    "curves wide",
    "Training",
    html("div", { class: "panels" }, ...panels),
    looks,
    view.chosen.length === view.runs.length ? "" : "The other seeds are drawn faintly.",
  );
}

function informationPlot(view) {
  const panels = Object.entries(data.information)
    .map(([name, keys]) => [
      name,
      Object.entries(keys).flatMap(([network, key]) => informationLines(view, network, key)),
    ])
    .filter(([, lines]) => lines.some((line) => numbers(line.values).length))
    .map(([name, lines]) => panel(data.passes[name] || `in the ${name} pass`, "lower bound (nats)", lines));
  if (!panels.length) return null;
  const caption =
    "Lower bounds by the two critics on the information that features carry about the group; one line a seed.";
  return figure(
    "information wide",
    `What the critics report of I(features; group), ${view.chosen.length > 1 ? "all seeds" : seedsTold(view)}`,
    html("div", { class: "panels" }, ...panels),
    Object.values(information),
    caption,
  );
}

function informationLines(view, network, key) {
  return seedLines({ ...view, runs: view.chosen }, key).map((line) => ({ ...line, look: information[network] }));
}

// All cells of a table by column: mean over the seeds with its sd.
function overviewPlot(table) {
  const drawnColumns = data.columns
    .map((column, i) => [column, i])
    .filter(([column, i]) => column.main && table.cells.some((cell) => cell.n[i]));
  const panels = drawnColumns.map(([column, i], place) => overviewPanel(table, column, i, place));
  const looks = unique(table.cells.map(kindOf)).map((kind) => kinds[kind]);
  const caption = "Marker: mean over the seeds; bar: one sample standard deviation to both sides.";
  return figure("overview", "Main columns of every row", html("div", { class: "panels" }, ...panels), looks, caption);
}

const kindOf = (cell) => (!cell.is_reference ? "competing" : cell.method === "pretrain" ? "pretrain" : "reference");

function overviewPanel(table, column, i) {
  const step = 18;
  const names = table.cells.map((cell) => cell.label);
  const left = Math.min(200, 16 + 6.6 * Math.max(...names.map((name) => name.length)));
  const box = { left, right: left + 190, top: 26, bottom: 32 + table.cells.length * step };
  const root = canvas(box.right + 14, box.bottom + 42, `${column.title} of ${table.cells.length} rows`);
  const letters = Math.floor((left - 12) / 6.6);
  const ends = table.cells.flatMap((cell) =>
    cell.n[i] ? [cell.mean[i] - (cell.sd[i] || 0), cell.mean[i] + (cell.sd[i] || 0)] : [],
  );
  const unit = column.unit ? ` (${column.unit})` : "";
  const range = spread(ends.map((value) => value * column.scale));
  const scale = axes(root, box, { ...range, title: column.title + unit, wanted: 4 }, { low: 0, high: 1, marks: [] });
  root.append(svg("text", { x: left, y: 15, class: "panel" }, column.title));
  table.cells.forEach((cell, row) => {
    const y = box.top + 12 + row * step;
    const name = cell.label.length > letters ? `${cell.label.slice(0, letters - 1)}…` : cell.label;
    root.append(svg("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, name, svg("title", {}, cell.label)));
    if (!cell.n[i]) return;
    const look = kinds[kindOf(cell)];
    const [middle, half] = [cell.mean[i] * column.scale, (cell.sd[i] || 0) * column.scale];
    if (half)
      root.append(
        svg("line", {
          class: "bar",
          x1: scale.x(middle - half),
          x2: scale.x(middle + half),
          y1: y,
          y2: y,
          stroke: look.color,
        }),
      );
    root.append(
      marker(
        look,
        scale.x(middle),
        y,
        4.5,
        `${cell.label}: ${momentsText(cellMoments(cell, column.key), cell.seeds.length, column)}`,
      ),
    );
  });
  return root;
}
