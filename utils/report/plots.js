// The plots of a cell. A view is {cell, runs: all of its runs, chosen: those of the seed buttons, seed: or null for all}.

const { roles, sets, information, counts, kinds, seeds: seedLooks, grey } = data.look;

const seedLook = (run, view) => {
  const place = view.runs.indexOf(run);
  return { ...seedLooks[place % seedLooks.length], label: `seed ${run.seed}` };
};
const seedsTold = (view) =>
  view.seed === null && view.runs.length > 1 ? `mean over ${view.runs.length} seeds` : `seed ${view.chosen[0].seed}`;

// Groups of a run as a map by name, read when they are first needed.
const groupsRead = new Map();
function groupsOf(run) {
  if (!groupsRead.has(run.id)) {
    const columns = Object.entries(run.groups).map(([name, number]) => [name, data.pool[number]]);
    const length = columns.length ? columns[0][1].length : 0;
    const rows = Array.from({ length }, (_, i) => Object.fromEntries(columns.map(([name, list]) => [name, list[i]])));
    groupsRead.set(run.id, new Map(rows.map((row) => [row.name, row])));
  }
  return groupsRead.get(run.id);
}

// Test accuracy of a group in some runs: mean, the seeds' values, and the mean ends of their 95 % intervals.
function accuracyOf(runs, name) {
  const found = runs.map((run) => groupsOf(run).get(name)).filter((group) => group && isNumber(group.test_acc));
  if (!found.length) return null;
  const held = found.filter((group) => isNumber(group.test_low));
  return {
    value: mean(found.map((group) => group.test_acc)),
    each: found.map((group) => group.test_acc),
    low: held.length ? mean(held.map((group) => group.test_low)) : null,
    high: held.length ? mean(held.map((group) => group.test_high)) : null,
  };
}

// The runs before, after and retrained that belong to the chosen ones; a run is not shown twice.
function roleRuns(view) {
  const partners = (key) =>
    unique(view.chosen.map((run) => runById.get(run[key]))).filter((run) => run && !view.chosen.includes(run));
  const found = { before: partners("original"), after: view.chosen, retrained: partners("reference") };
  return Object.entries(found).filter(([, runs]) => runs.length);
}

function groupRows(view) {
  return [...groupsOf(view.chosen[0]).values()].map((group) => {
    const row = { ...group };
    roleRuns(view).forEach(([role, runs]) => {
      row[role] = accuracyOf(runs, group.name);
    });
    return row;
  });
}

const GROUP_ORDERS = {
  "forget groups first": () => 0,
  "lowest accuracy first": (row) => (row.after ? row.after.value : Infinity),
  "largest loss of accuracy first": (row) => (row.after && row.before ? row.after.value - row.before.value : Infinity),
  "fewest test samples first": (row) => row.n_test,
};

function ordered(rows, order) {
  const rank = (row) => (order === "forget groups first" ? (row.forget ? 0 : 1) : GROUP_ORDERS[order](row));
  return rows
    .map((row, i) => [rank(row), i, row])
    .sort((a, b) => a[0] - b[0] || a[1] - b[1])
    .map((item) => item[2]);
}

const ROW = 30; // px a group

// Names of groups to the left of a plot, the forget groups marked; returns the width they take.
const namesWidth = (rows) =>
  Math.min(230, 24 + 6.6 * Math.max(...rows.map((row) => row.name.length + (row.forget ? 9 : 0))));
function groupName(row, x, y, room, width, i) {
  const text = row.forget ? `${row.name} (forget)` : row.name;
  const letters = Math.floor((room - 16) / 6.6);
  const cut = text.length > letters ? `${text.slice(0, letters - 1)}…` : text;
  const layer = svg("g", {}, svg("title", {}, text));
  if (i) layer.append(svg("line", { class: "rule", x1: 0, x2: width, y1: y - ROW / 2, y2: y - ROW / 2 }));
  if (row.forget) layer.append(svg("rect", { class: "band", x: 0, y: y - ROW / 2, width, height: ROW }));
  layer.append(svg("text", { x, y: y + 4, "text-anchor": "end", class: row.forget ? "forget" : "group" }, cut));
  return layer;
}

function percentRange(rows, names) {
  const ends = rows.flatMap((row) => names.flatMap((name) => (row[name] ? [row[name].low, ...row[name].each] : [])));
  return { low: Math.max(0, Math.floor((Math.min(100, ...numbers(ends)) - 1) / 10) * 10), high: 100 };
}

function drawGroups(view, order) {
  const rows = ordered(groupRows(view), order);
  const shown = roleRuns(view).map(([role]) => role);
  const step = ROW;
  const left = namesWidth(rows);
  const width = 620;
  const box = { left, right: width - 74, top: 24, bottom: 34 + rows.length * step };
  const told = `Test accuracy of ${rows.length} groups with 95 % intervals: ${shown.map((role) => roles[role].label).join(", ")}`;
  const root = canvas(width, box.bottom + 42, told);
  rows.forEach((row, i) => root.append(groupName(row, left - 10, box.top + 20 + i * step, left, width, i)));
  const range = percentRange(rows, shown);
  const scale = axes(root, box, { ...range, title: "test accuracy (%)", twice: true }, { low: 0, high: 1, marks: [] });
  root.append(svg("text", { x: width - 4, y: box.top - 6, "text-anchor": "end", class: "title" }, "n (test)"));
  rows.forEach((row, i) => {
    const y = box.top + 20 + i * step;
    shown.forEach((role, k) =>
      root.append(intervalDot(row[role], roles[role], row.name, scale.x, y + (k - (shown.length - 1) / 2) * 7)),
    );
    root.append(svg("text", { x: width - 4, y: y + 4, "text-anchor": "end" }, String(row.n_test)));
  });
  return root;
}

function intervalDot(found, look, name, x, y) {
  const layer = svg("g", {});
  if (!found) return layer;
  const limits = isNumber(found.low) ? `, 95 % interval ${fixed(found.low, 1)} to ${fixed(found.high, 1)}` : "";
  if (limits)
    layer.append(svg("line", { class: "bar", x1: x(found.low), x2: x(found.high), y1: y, y2: y, stroke: look.color }));
  if (found.each.length > 1) {
    found.each.forEach((value) =>
      layer.append(svg("circle", { class: "seed", cx: x(value), cy: y, r: 2.2, fill: "#fff", stroke: look.color })),
    );
  }
  layer.append(marker(look, x(found.value), y, 4, `${name}, ${look.label}: ${fixed(found.value, 1)}${limits}`));
  return layer;
}

function groupPlot(view) {
  if (!view.chosen.some((run) => groupsOf(run).size)) return null;
  const box = html("div", { class: "tall" }, drawGroups(view, "forget groups first"));
  const redraw = (event) => box.replaceChildren(drawGroups(view, event.target.value));
  const orders = Object.keys(GROUP_ORDERS).map((name) => html("option", {}, name));
  const choice = html("label", { class: "controls" }, "Order: ", html("select", { on: { change: redraw } }, ...orders));
  const absent = ["before", "retrained"].filter((role) => !roleRuns(view).some(([found]) => found === role));
  const names = { before: "pretrained", retrained: "retrained" };
  const several = view.chosen.length > 1;
  const parts = [
    several
      ? "Filled marker: mean over the seeds; open dots: each seed; bar: 95 % Wilson interval of a seed, its ends averaged over the seeds."
      : "Bar: 95 % Wilson interval.",
    absent.length ? ` No other ${absent.map((role) => names[role]).join(" and no ")} run belongs to this one.` : "",
  ];
  const looks = roleRuns(view).map(([role]) => roles[role]);
  return figure("groups", `Accuracy by group, ${seedsTold(view)}`, html("div", {}, choice, box), looks, parts.join(""));
}

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
  const scale = axes(root, { left: 62, right: 300, top: 26, bottom: 178 }, x, { ...spread(values), title: unit });
  root.append(svg("text", { x: 62, y: 15, class: "panel" }, title));
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
    .map(([name, lines]) => panel(data.passes[name] || `in the ${name} pass`, "mutual information (nats)", lines));
  if (!panels.length) return null;
  const caption =
    "Lower bounds by the two critics on the information that features carry about the group; one line a seed.";
  return figure(
    "information wide",
    `Mutual information of features and group, ${view.chosen.length > 1 ? "all seeds" : seedsTold(view)}`,
    html("div", { class: "panels" }, ...panels),
    Object.values(information),
    caption,
  );
}

function informationLines(view, network, key) {
  return seedLines({ ...view, runs: view.chosen }, key).map((line) => ({ ...line, look: information[network] }));
}

function countPlot(view) {
  const run = view.chosen[0];
  const rows = ordered(
    [...groupsOf(run).values()].filter((group) => group.n_train),
    "forget groups first",
  );
  if (!rows.length) return null;
  const left = namesWidth(rows);
  const box = { left, right: 510, top: 24, bottom: 34 + rows.length * ROW };
  const root = canvas(620, box.bottom + 42, `Training samples forgotten and retained in ${rows.length} groups`);
  const id = nextId("hatch");
  root.append(svg("defs", {}, hatch(id, counts.forgotten.color)));
  rows.forEach((row, i) => root.append(groupName(row, left - 10, box.top + 20 + i * ROW, left, 620)));
  const x = {
    low: 0,
    high: Math.max(...rows.map((row) => row.n_train)) * 1.02,
    title: "training samples",
    twice: true,
    wanted: 5,
  };
  const scale = axes(root, box, x, { low: 0, high: 1, marks: [] });
  rows.forEach((row, i) => {
    const y = box.top + 12 + i * ROW;
    const told = `${row.name}: ${row.n_forget} forgotten, ${row.n_retain} retained`;
    const bar = (from, n, color) =>
      svg(
        "rect",
        { class: "count", x: scale.x(from), y, width: scale.x(n) - scale.x(0), height: 16, fill: color },
        svg("title", {}, told),
      );
    root.append(bar(0, row.n_forget, `url(#${id})`), bar(row.n_forget, row.n_retain, counts.retained.color));
    const text = row.n_forget ? `${row.n_forget} of ${row.n_train}` : String(row.n_train);
    root.append(svg("text", { x: scale.x(row.n_train) + 6, y: y + 12 }, text));
  });
  const caption = view.runs.length > 1 ? `Counts of seed ${run.seed}.` : "";
  return figure("counts", "What was forgotten", html("div", { class: "tall" }, root), Object.values(counts), caption);
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
