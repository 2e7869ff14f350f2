// What an audit found: methods in rows, each with its groups where they are asked for, measures in columns.

const AUDIT_PARTS = { placebo: "placebo", floor: "noise floor", retrained: "retrained", original: "original" };

const auditColumnHint = (column) =>
  [`${column.title}${column.unit ? ` (${column.unit})` : ""}`, column.what, column.limits].filter(Boolean).join("\n");

function auditCell(found, column) {
  if (!found) return html("td", { class: "hole" }, "-");
  const told = (value) => (isNumber(value) ? minus(fixed(value, column.decimals)) : "-");
  const from = [
    isNumber(found.runs) && countTold(found.runs, "run"),
    isNumber(found.n) && `n = ${found.n}`,
    column.definition,
    found.reason,
  ];
  const parts = column.parts.filter((part) => isNumber(found[part]));
  return html(
    "td",
    { class: isNumber(found.value) ? null : "hole", title: from.filter(Boolean).join("\n"), "data-key": column.key },
    told(found.value),
    isNumber(found.low) ? html("small", {}, endsTold(found, told)) : null,
    ...parts.map((part) => html("small", {}, `${AUDIT_PARTS[part]} ${told(found[part])}`)),
  );
}

function auditSortValue(row, sort, columns) {
  if (sort.key === "label") return row.name;
  const found = row.cells[columns.findIndex(({ key }) => key === sort.key)];
  return found && isNumber(found.value) ? found.value : HOLES_LAST;
}

function drawAudit(section, most = Infinity) {
  const { table, audit } = section;
  const places = table.audit.columns.map((_, i) => i);
  audit.grid.replaceChildren(...parted(places, most).map((own) => auditGrid(section, own)));
  markCut(audit.grid);
}

function auditGrid(section, places) {
  const { table, audit } = section;
  const { columns, rows } = table.audit;
  const act = (key) => {
    audit.sort = nextSort(audit.sort, key);
    drawAudit(section);
    audit.grid.querySelector(`th[data-key="${key}"] button`).focus();
  };
  const head = (i) => {
    const { key, title } = columns[i];
    return headCell(key, title, "", auditColumnHint(columns[i]), audit.sort, act);
  };
  const first = audit.groups ? "method, group" : "method";
  const heads = [headCell("label", first, "", "the method as papers call it", audit.sort, act), ...places.map(head)];
  const shown = rows.filter(
    (row) => (audit.groups || row.group === undefined) && fits(rowWords(table, { ...row, method: "" }), section.state),
  );
  const lines = sortedBy(shown, audit.sort, (row) => auditSortValue(row, audit.sort, columns)).map((row) =>
    html(
      "tr",
      { "data-label": row.label, "data-group": row.group },
      html("th", { scope: "row" }, row.name, row.group === undefined ? null : html("small", {}, row.group)),
      ...places.map((i) => auditCell(row.cells[i], columns[i])),
    ),
  );
  const caption = html("caption", {}, table.audit.title);
  return html("table", { class: "audited" }, caption, html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...lines));
}

// What each measure means, once for all that it is taken at.
function auditMeanings(columns) {
  const told = new Map(columns.map((column) => [column.definition + column.what, column]));
  const line = ({ key, title, what, definition, source, limits }) => {
    const cells = [what, definition, source, limits].map((text) => html("td", {}, text));
    return html("tr", {}, html("th", { scope: "row" }, title.split(",")[0], html("small", {}, key.split("@")[0])), ...cells);
  };
  const heads = ["measure", "meaning", "definition", "source", "what it cannot tell"];
  const head = html("thead", {}, html("tr", {}, ...heads.map((text) => html("th", { scope: "col" }, text))));
  return html("div", { class: "scroll" }, html("table", { class: "keys" }, head, html("tbody", {}, ...[...told.values()].map(line))));
}

// The section of a study; null where nothing was audited.
function auditBox(section) {
  const { table } = section;
  if (!table.audit?.columns.length && !table.audit?.notes.length) return null;
  const { rows, title, told, notes } = table.audit;
  const lines = notes.map((note) => html("li", {}, note));
  const holes = fold(`Why values are missing (${lines.length})`, () => html("ul", { class: "notes" }, ...lines));
  const heading = html("h3", {}, title);
  if (!table.audit.columns.length) return html("section", { class: "part audit-part" }, heading, holes);
  const grid = scrollBox(title, "high");
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
    html("p", { class: "note" }, told.join(" ")),
    choice,
    grid,
    lines.length ? holes : null,
    fold("What these measures mean", () => auditMeanings(table.audit.columns)),
    tablePlot("audit", table),
    tablePlot("relearning", table),
  );
}

// Rows below the measures: the distance between two retrained models, in the columns that show such a distance.
function floorRows(table, columns, state) {
  if (state.each || !table.audit) return [];
  const has = (column) => (state.difference ? column.best === "reference" : column.to_reference && column.best !== "reference");
  const own = columns.map((column) => (has(column) ? column : null));
  return table.audit.floors
    .filter(({ values }) => own.some((column) => column && isNumber(values[column.key]?.value)))
    .map(({ name, values }) => {
      const cells = own.map((column) => {
        const found = column && values[column.key];
        if (!found || !isNumber(found.value)) return html("td", {}, "");
        const told = (value) => minus(fixed(value * column.scale, column.decimals));
        return html("td", {}, told(found.value), isNumber(found.low) ? html("small", {}, endsTold(found, told)) : null);
      });
      const runs = numbers(Object.values(values).map((found) => found.runs));
      const n = html("td", {}, runs.length ? String(Math.max(...runs)) : "-");
      return html("tr", { class: "reference floor" }, html("th", { scope: "row" }, name), n, ...cells);
    });
}
