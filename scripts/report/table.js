// The table of measures: rows are cells (mean over seeds) or runs.

const columnPlace = new Map(data.columns.map((column, i) => [column.key, i]));
const metricOf = (run, key) => run.metrics[columnPlace.get(key)];
const HOLES_LAST = Symbol("holes last");

function cellMoments(cell, key, difference = false) {
  const own = difference ? cell.difference : cell;
  const i = columnPlace.get(key);
  return own && i !== undefined ? { n: own.n[i], mean: own.mean[i], sd: own.sd[i] } : { n: 0, mean: null, sd: null };
}

function runMoments(run, key, difference) {
  let value = metricOf(run, key);
  if (difference) {
    const reference = runById.get(run.reference);
    value = reference && isNumber(value) && isNumber(metricOf(reference, key)) ? value - metricOf(reference, key) : null;
  }
  return isNumber(value) ? { n: 1, mean: value, sd: null } : { n: 0, mean: null, sd: null };
}

// The cell with the best mean of a column; none where fewer than two compete, or several are best to the decimals shown.
// Among values the highest or the lowest; closeness to the reference is seen among differences alone.
function bestCells(table, column, difference) {
  if (!column.best || (column.best === "reference") !== difference) return new Set();
  const competing = table.cells.filter((cell) => !cell.is_reference);
  // Closeness to different retrained models is not compared.
  if (column.to_reference && unique(competing.map((cell) => cell.mark)).length > 1) return new Set();
  const found = [];
  competing.forEach((cell) => {
      const own = cellMoments(cell, column.key, column.best === "reference");
      if (!own.n) return;
      const value = { reference: Math.abs(own.mean), high: -own.mean, low: own.mean }[column.best];
      found.push([cell, Number(fixed(value * column.scale, column.decimals))]);
    });
  const lowest = Math.min(...found.map(([, value]) => value));
  const best = found.filter(([, value]) => value === lowest).map(([cell]) => cell);
  return new Set(found.length > 1 && best.length === 1 ? best : []);
}

// A row: {cell, run or null, moments(column)}.
function rowsOf(table, state) {
  const difference = state.difference;
  if (!state.each) {
    return table.cells.map((cell) => ({
      cell,
      run: null,
      moments: (column) => cellMoments(cell, column.key, difference),
    }));
  }
  return table.cells.flatMap((cell) =>
    cell.runs.map((id) => ({
      cell,
      run: runById.get(id),
      moments: (column) => runMoments(runById.get(id), column.key, difference),
    })),
  );
}

const rowWords = (table, cell) => `${table.title} ${cell.label} ${cell.name} ${cell.method}`.toLowerCase();
const fits = (text, state) => state.words.every((word) => text.includes(word));

function sortValue(row, sort) {
  if (sort.key === "label") return row.cell.name;
  if (sort.key === "seeds") return row.run ? String(row.run.seed) : row.cell.seeds.length;
  const own = row.moments(data.columns[columnPlace.get(sort.key)]);
  return own.n ? own.mean : HOLES_LAST;
}

// In the order of valueOf, a text or a number; what has none stands last either way.
function sortedBy(rows, sort, valueOf) {
  if (!sort) return rows;
  const sign = sort.descending ? -1 : 1;
  const keyed = rows.map((row, i) => [valueOf(row), i, row]);
  keyed.sort(([a, i], [b, j]) => {
    if (a === b) return i - j;
    if (a === HOLES_LAST || b === HOLES_LAST) return a === HOLES_LAST ? 1 : -1;
    return (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b) * sign || i - j;
  });
  return keyed.map((item) => item[2]);
}

function holeReason(row, column) {
  const runs = row.run ? [row.run] : row.cell.runs.map((id) => runById.get(id));
  const empty = runs.filter((run) => !isNumber(metricOf(run, column.key)));
  const reasons = empty.map((run) => `seed ${run.seed}: ${run.reasons[column.key] || "not computed by this run"}`);
  return reasons.length ? reasons : ["no retrained run of the same seed to take the difference to"];
}

// What a cell of the table says when pointed at: every seed in full, the difference to the reference, the reasons.
function told(row, column, state) {
  const runs = row.run ? [row.run] : row.cell.runs.map((id) => runById.get(id));
  const lines = [`${row.cell.name}, ${columnHint(column)}`];
  runs.forEach((run) => {
    const own = runMoments(run, column.key, state.difference);
    if (own.n) lines.push(`seed ${run.seed}: ${minus(String(own.mean * column.scale))}`);
  });
  const gap = row.run ? runMoments(row.run, column.key, true) : cellMoments(row.cell, column.key, true);
  if (gap.n && !state.difference)
    lines.push(`minus the reference: ${momentsText(gap, row.run ? 1 : row.cell.seeds.length, column)}`);
  if (row.moments(column).n < runs.length) lines.push(...holeReason(row, column));
  return lines.join("\n");
}

function valueCell(row, column, state, best) {
  const own = row.moments(column);
  const text = momentsText(own, row.run ? 1 : row.cell.seeds.length, column);
  const isBest = !row.run && best.get(column.key).has(row.cell);
  const names = [isBest && "best", !own.n && "hole"].filter(Boolean).join(" ");
  return html(
    "td",
    { class: names || null, title: told(row, column, state), "data-key": column.key },
    isBest ? html("strong", {}, text) : text,
  );
}

// A column's title, what it means in small letters below, and more where it is pointed at; a click sorts.
function headCell(name, title, small, hint, sort, act) {
  const direction = sort && sort.key === name ? (sort.descending ? "descending" : "ascending") : "none";
  const arrow = { ascending: "▲", descending: "▼", none: "↕" }[direction];
  const click = (event) => {
    event.stopPropagation();
    act(name);
  };
  return html(
    "th",
    { scope: "col", "aria-sort": direction, "data-key": name, on: { click } },
    html("span", { "data-hint": hint }, title),
    html(
      "button",
      { type: "button", class: "sort", "aria-label": `sort by ${title}`, "data-hint": hint, on: { click } },
      arrow,
    ),
    small ? html("small", {}, small) : null,
  );
}

// Ascending, then descending, then the order of the report.
function nextSort(sort, key) {
  if (!sort || sort.key !== key) return { key, descending: false };
  return sort.descending ? null : { key, descending: true };
}

const columnHint = (column) =>
  `${column.title}: ${column.what}${column.unit ? ` (${column.unit === "%" ? "percent" : column.unit})` : ""}`;

// Lists of at most so many each.
function parted(list, most) {
  const n = Math.max(1, Math.ceil(list.length / most));
  const size = Math.ceil(list.length / n);
  return Array.from({ length: n }, (_, i) => list.slice(i * size, (i + 1) * size));
}

function drawTable(section, most = Infinity) {
  const columns = data.columns.filter((column) => section.state.all || column.main);
  section.grid.replaceChildren(...parted(columns, most).map((own) => measuresGrid(section, own)));
  section.told.textContent = section.state.difference
    ? "Shown is the difference to the retrained model of the same seed. Bold: the unlearned model closest to it."
    : "Bold: the one best of the unlearned models.";
  markCut(section.grid);
}

function measuresGrid(section, columns) {
  const { table, state } = section;
  const best = new Map(columns.map((column) => [column.key, bestCells(table, column, state.difference)]));
  const act = (key) => {
    section.sort = nextSort(section.sort, key);
    drawTable(section);
    section.grid.querySelector(`th[data-key="${key}"] button`).focus();
  };
  const seeds = state.each ? ["seed", "the run's seed"] : ["n", "number of seeds"];
  const name = "the method as papers call it, and what departs from its default";
  const heads = [
    headCell("label", "method", "", name, section.sort, act),
    headCell("seeds", seeds[0], seeds[1], seeds[1], section.sort, act),
    ...columns.map((column) => headCell(column.key, column.title, column.what, columnHint(column), section.sort, act)),
  ];
  const rows = sortedBy(rowsOf(table, state), section.sort, (row) => sortValue(row, section.sort));
  const shown = rows.filter((row) => fits(rowWords(table, row.cell), state));
  const lines = [
    ...shown.map((row) => tableRow(section, row, columns, best)),
    ...floorRows(table, columns, state),
  ];
  const caption = state.difference ? "Difference to the retrained model of the same seed" : studied(table);
  const head = html("thead", {}, html("tr", {}, ...heads));
  return html("table", { class: "measures" }, html("caption", {}, caption), head, html("tbody", {}, ...lines));
}

function tableRow(section, row, columns, best) {
  const { cell } = row;
  const isOpen = section.open.has(cell.id);
  const open = (event) => {
    event.preventDefault();
    toggleDetails(section, cell, row.run);
  };
  const shows = { href: `#${cell.id}`, class: "open", role: "button", "aria-expanded": String(isOpen) };
  const ticks = {
    type: "checkbox",
    class: "tick",
    value: cell.id,
    checked: isCompared(cell),
    "aria-label": `compare ${cell.name}`,
    on: {
      click: (event) => event.stopPropagation(),
      change: (event) => tick(section, cell, event.target.checked),
    },
  };
  const values = columns.map((column) => valueCell(row, column, section.state, best));
  const names = [cell.is_reference && "reference", isOpen && "opened"].filter(Boolean).join(" ");
  return html(
    "tr",
    { class: names || null, "data-cell": cell.id, "data-run": row.run && row.run.id, on: { click: open } },
    html(
      "th",
      { scope: "row" },
      row.run ? null : html("input", ticks),
      html("a", shows, cell.name),
      cell.mark,
      cell.label === cell.name ? null : html("small", {}, html("code", {}, cell.label)),
    ),
    html("td", {}, row.run ? String(row.run.seed) : String(cell.seeds.length)),
    ...values,
  );
}
