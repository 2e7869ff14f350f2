// What an audit found: its verdict, and a narrow table a question: methods in rows, measures in columns.

const auditColumnHint = (column) =>
  [`${column.title}${column.unit ? ` (${column.unit})` : ""}`, column.what, column.limits].filter(Boolean).join("\n");

function auditCell(found, column, head) {
  if (!found) return html("td", { class: "hole" }, "-");
  const told = (value) => (isNumber(value) ? minus(fixed(value, column.decimals)) : "-");
  const isKnown = isNumber(found.value);
  const whole = (value, low) => (!isNumber(value) && isNumber(low) ? `more than ${told(low)}` : told(value));
  const from = [
    isNumber(found.runs) && countTold(found.runs, "run"),
    isNumber(found.n) && `${found.n} samples or pairs`,
    column.definition,
    found.reason,
  ];
  const texts = column.parts.map((part) => [part, whole(found[part], found[`${part}_low`])]);
  const parts = texts.filter(([, text]) => text !== "-").map((one) => one.join(" "));
  return html(
    "td",
    {
      class: isKnown || isNumber(found.low) ? null : "hole",
      title: from.filter(Boolean).join("\n"),
      "data-key": column.key,
      "data-head": head,
    },
    whole(found.value, found.low),
    isKnown && isNumber(found.low) ? html("small", {}, endsTold(found, told)) : null,
    parts.length ? html("small", {}, parts.join(", ")) : null,
  );
}

function auditSortValue(row, sort, columns) {
  if (sort.key === "label") return row.name;
  const found = row.cells[columns.findIndex(({ key }) => key === sort.key)];
  return numbers([found?.value, found?.low])[0] ?? HOLES_LAST;
}

function drawAudit(section) {
  const { table, audit } = section;
  audit.grid.replaceChildren(
    ...table.audit.tables.flatMap((own) => [html("h4", {}, own.title), auditGrid(section, own)]),
  );
}

function auditGrid(section, own) {
  const { table, audit } = section;
  const { columns, rows } = table.audit;
  const act = (key) => {
    audit.sort = nextSort(audit.sort, key);
    drawAudit(section);
    audit.grid.querySelector(`th[data-key="${key}"] button`).focus();
  };
  const head = (place, i) => headCell(columns[place].key, own.heads[i], "", auditColumnHint(columns[place]), audit.sort, act);
  const first = audit.groups ? "method, group" : "method";
  const heads = [
    headCell("label", first, "", "the method as papers call it", audit.sort, act),
    html("th", { scope: "col" }, term("runs", "from how many runs the numbers of a line are")),
    ...own.columns.map(head),
  ];
  const shown = own.lines
    .map(({ row, runs }) => ({ ...rows[row], runs }))
    .filter(
      (row) => (audit.groups || row.group === undefined) && fits(rowWords(table, { ...row, method: "" }), section.state),
    );
  const mark = ({ label }) => table.cells.find((cell) => cell.label === label)?.mark;
  const lines = sortedBy(shown, audit.sort, (row) => auditSortValue(row, audit.sort, columns)).map((row) =>
    html(
      "tr",
      { "data-label": row.label, "data-group": row.group },
      html("th", { scope: "row" }, row.name, mark(row), row.group === undefined ? null : html("small", {}, row.group)),
      html("td", { "data-head": "runs" }, row.runs),
      ...own.columns.map((place, i) => auditCell(row.cells[place], columns[place], own.heads[i])),
    ),
  );
  const parts = [html("caption", {}, own.title), html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...lines)];
  return html("table", { class: "audited" }, ...parts);
}

// What the measures of a question mean: once what several share, then the rest of each, once for all it is taken at.
const EXPLAINED = { definition: "How", source: "Source", limits: "Limits" };
const sentencesOf = (text) => text.split(/(?<=\.) (?=[A-Z])/).map((one) => `${one.replace(/\.$/, "")}.`);

function auditMeanings({ columns, tables }) {
  return html("div", {}, ...tables.flatMap((own) => meaningsOf(own, own.columns.map((place) => columns[place]))));
}

function meaningsOf({ title, shared }, columns) {
  const names = Object.keys(EXPLAINED);
  const told = names.filter((name) => shared[name].length);
  const together = told.map((name) => html("p", { class: "note" }, `${EXPLAINED[name]}: ${shared[name].join(" ")}`));
  const rest = (text, name) => text && sentencesOf(text).filter((one) => !shared[name].includes(one)).join(" ");
  const found = new Map(columns.map((column) => [column.definition + column.what, column]));
  const lines = [...found.values()].map((column) => {
    const cells = [column.what, ...names.map((name) => rest(column[name], name))].map((text) => html("td", {}, text));
    const key = html("small", {}, column.key.split("@")[0]);
    return html("tr", {}, html("th", { scope: "row" }, column.title.split(",")[0], key), ...cells);
  });
  const heads = ["measure", "meaning", ...Object.values(EXPLAINED)].map((text) => html("th", { scope: "col" }, text));
  const parts = [html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...lines)];
  return [html("h4", {}, title), ...together, html("div", { class: "scroll" }, html("table", { class: "keys" }, ...parts))];
}

function verdictList(verdict) {
  const seen = new Set();
  const lines = verdict.flatMap(({ about, text }) => [html("dt", {}, about), html("dd", {}, ...termed(text, seen))]);
  return lines.length ? html("dl", { class: "story" }, ...lines) : null;
}

// The section of a study; null where nothing was audited.
function auditBox(section) {
  const { table } = section;
  if (!table.audit?.columns.length && !table.audit?.notes.length) return null;
  const { rows, title, verdict, told, notes } = table.audit;
  const lines = notes.map((note) => html("li", {}, note));
  const holes = fold(`Why values are missing (${lines.length})`, () => html("ul", { class: "notes" }, ...lines));
  const heading = html("h3", {}, title);
  if (!table.audit.columns.length) return html("section", { class: "part audit-part" }, heading, holes);
  const grid = html("div", { class: "questions" });
  section.audit = { groups: false, sort: null, grid };
  const choose = (event) => {
    section.audit.groups = event.target.checked;
    drawAudit(section);
  };
  const box = html("input", { type: "checkbox", on: { change: choose } });
  const choice = rows.some(({ group }) => group !== undefined)
    ? html("div", { class: "controls choices" }, html("label", {}, box, " by group"))
    : null;
  drawAudit(section);
  return html(
    "section",
    { class: "part audit-part" },
    heading,
    verdictList(verdict),
    html("p", { class: "note" }, told.join(" ")),
    choice,
    grid,
    lines.length ? holes : null,
    fold("What these measures mean", () => auditMeanings(table.audit)),
    tablePlot("audit", table),
    tablePlot("relearning", table),
  );
}

// Rows below the measures: the distance between two retrained models, in the columns that show such a distance.
function floorRows(table, columns, state) {
  if (state.each || !table.audit) return [];
  const own = columns.map((column) => (column.distance === (state.difference ? "difference" : "value") ? column : null));
  return table.audit.floors
    .filter(({ values }) => own.some((column) => column && isNumber(values[column.key]?.value)))
    .map(({ name, values }) => {
      const cells = own.map((column) => {
        const found = column && values[column.key];
        if (!found || !isNumber(found.value)) return html("td", {}, "");
        const told = (value) => minus(fixed(value * column.scale, column.decimals));
        return html("td", {}, told(found.value), isNumber(found.low) ? html("small", {}, endsTold(found, told)) : null);
      });
      const runs = numbers(own.map((column) => column && values[column.key]?.runs));
      const n = html("td", {}, runs.length ? String(Math.max(...runs)) : "-");
      return html("tr", { class: "reference floor" }, html("th", { scope: "row" }, name), n, ...cells);
    });
}
