// Plots with a row a group: accuracy before, after and retrained, and what was forgotten.

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

// What a reader must know of the original model, and of a reference that is not drawn.
function partnersTold(view) {
  const notes = unique(view.chosen.map((run) => run.original_note).filter(Boolean));
  const told = notes.length ? [` The original model: ${notes.join("; ")}.`] : [];
  if (view.cell.is_reference || roleRuns(view).some(([role]) => role === "retrained")) return told;
  const names = unique(view.chosen.map((run) => run.reference_name).filter(Boolean));
  return [...told, names.length ? ` The retrained model ${names.join(", ")} is not here.` : " No retrained model is here."];
}

function groupPlot(view) {
  if (!view.chosen.some((run) => groupsOf(run).size)) return null;
  const box = html("div", { class: "tall" }, drawGroups(view, "forget groups first"));
  const redraw = (event) => box.replaceChildren(drawGroups(view, event.target.value));
  const orders = Object.keys(GROUP_ORDERS).map((name) => html("option", {}, name));
  const choice = html("label", { class: "controls" }, "Order: ", html("select", { on: { change: redraw } }, ...orders));
  const several = view.chosen.length > 1;
  const parts = [
    several
      ? "Filled marker: mean over the seeds; open dots: each seed; bar: 95 % Wilson interval of a seed, its ends averaged over the seeds."
      : "Bar: 95 % Wilson interval.",
    ...partnersTold(view),
  ];
  const looks = roleRuns(view).map(([role]) => roles[role]);
  return figure("groups", `Accuracy by group, ${seedsTold(view)}`, html("div", {}, choice, box), looks, parts.join(""));
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
