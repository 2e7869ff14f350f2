// Groups in rows, methods in columns: test accuracy, or its change to the original or to the retrained model.

const GROUP_SHOWN = {
  minus_original: "change to the original model",
  minus_reference: "change to the retrained model",
  test_acc: "test accuracy",
};

// Of a cell and a place in table.groups: {n, mean, low, high}.
function groupValue(cell, what, i) {
  const lists = cell.groups[what];
  return Object.fromEntries(Object.entries(lists).map(([name, number]) => [name, data.pool[number][i]]));
}

const anyValue = (cell, what) => data.pool[cell.groups[what].n].some(Boolean);
const beyondNoise = ({ low, high }) => isNumber(low) && (low > 0 || high < 0);
const signed = (value, decimals) => {
  const text = minus(fixed(value, decimals));
  return value > 0 && Number(text) !== 0 ? `+${text}` : text;
};
const endsTold = (ends, told, decimals = 1) => `${told(ends.low, decimals)} to ${told(ends.high, decimals)}`;

// A change: strong where its interval leaves out zero, quiet where it does not.
function changeCell(found, { scale = 1, decimals = 1, seeds = found.n, ...attributes } = {}) {
  if (!found.n) return html("td", { class: "hole", ...attributes }, "-");
  const scaled = (value, digits) => signed(value * scale, digits);
  const text = scaled(found.mean, decimals) + (found.n < seeds ? ` [${found.n}]` : "");
  const strong = beyondNoise(found);
  const interval = isNumber(found.low) ? endsTold(found, scaled, decimals) : "no interval";
  return html(
    "td",
    { class: strong ? "change strong" : "change quiet", ...attributes },
    strong ? html("strong", {}, text) : text,
    html("small", {}, interval),
  );
}

function accuracyCell(found, attributes) {
  if (!found.n) return html("td", { class: "hole", ...attributes }, "-");
  const interval = isNumber(found.low) ? html("small", {}, endsTold(found, fixed)) : null;
  return html("td", attributes, fixed(found.mean, 1), interval);
}

// What a column shows: a model's own accuracy where there is no change to show, as it is the one compared with.
function shownOf(cell, what) {
  const itself = { minus_original: "pretrain", minus_reference: "retrain" }[what] === cell.method;
  return itself ? "test_acc" : what;
}

function groupHead(table, cell, what, sort, act) {
  const small = shownOf(cell, what) === "test_acc" ? "test accuracy" : "change";
  const mark = what === "minus_reference" ? cell.mark : "";
  return headCell(cell.id, cell.name + mark, small, `${cell.name}: ${GROUP_SHOWN[shownOf(cell, what)]}`, sort, act);
}

function groupNameCell(group) {
  const forgotten = group.forget ? html("span", { class: "tag" }, "forget group") : null;
  const counts = group.n_forget ? `${group.n_forget} of ${group.n_train} forgotten` : `${group.n_train} in training`;
  const name = html("span", { class: "name" }, group.name);
  return html("th", { scope: "row" }, name, " ", forgotten, html("small", {}, counts));
}

function groupSortValue(table, i, sort, what) {
  if (sort.key === "group") return table.groups[i].name;
  if (sort.key === "n_test") return table.groups[i].n_test;
  const cell = table.cells.find(({ id }) => id === sort.key);
  const found = groupValue(cell, shownOf(cell, what), i);
  return found.n ? found.mean : HOLES_LAST;
}

function drawGroupTable(section, columns = Infinity) {
  const { table, groups } = section;
  const cells = table.cells.filter((cell) => cell.is_reference || fits(rowWords(table, cell), section.state));
  groups.grid.replaceChildren(...parted(cells, columns).map((own) => groupGrid(section, own)));
  groups.told.textContent = groupsTold(table, groups.what);
  markCut(groups.grid);
}

function groupGrid(section, cells) {
  const { table, groups } = section;
  const { what, sort } = groups;
  const act = (key) => {
    groups.sort = nextSort(groups.sort, key);
    drawGroupTable(section);
    groups.grid.querySelector(`th[data-key="${key}"] button`).focus();
  };
  const heads = [
    headCell("group", "group", "", "target and sensitive attribute; the forget groups first", sort, act),
    headCell("n_test", "test images", "", "how many test images the group has", sort, act),
    ...cells.map((cell) => groupHead(table, cell, what, sort, act)),
  ];
  const places = sortedBy(
    table.groups.map((_, i) => i),
    sort,
    (i) => groupSortValue(table, i, sort, what),
  );
  const lines = places.map((i) => groupLine(table, cells, what, i));
  const caption = html("caption", {}, `Groups by method: ${GROUP_SHOWN[what]}`);
  const head = html("thead", {}, html("tr", {}, ...heads));
  return html("table", { class: "by-group" }, caption, head, html("tbody", {}, ...lines));
}

function groupLine(table, cells, what, i) {
  const group = table.groups[i];
  const values = cells.map((cell) => {
    const shown = shownOf(cell, what);
    const attributes = { "data-cell": cell.id };
    const found = groupValue(cell, shown, i);
    if (shown === "test_acc") return accuracyCell(found, attributes);
    return changeCell(found, { seeds: cell.seeds.length, ...attributes });
  });
  const attributes = { class: group.forget ? "forget" : null, "data-group": group.name };
  return html("tr", attributes, groupNameCell(group), html("td", {}, String(group.n_test)), ...values);
}

function groupsTold(table, what) {
  if (what === "test_acc")
    return "Percent of a group's test images, the mean over the seeds; below it the 95 % interval: of several seeds by Student's t over them, within 0 and 100; of one seed, or of seeds that are all alike, Wilson's, from the number of test images.";
  const seeds = Math.max(...table.cells.map((cell) => cell.seeds.length));
  const source =
    seeds > 1
      ? "over the differences of each seed (of one seed, from the numbers of test images)"
      : "from the numbers of test images; one seed says nothing of other seeds";
  const told = table.reference.replaceAll("of rows with *", "of columns with *"); // models are columns here
  const reference = what === "minus_reference" && told ? ` ${told}` : "";
  return (
    `Percentage points; below it the 95 % interval, ${source}. Bold: more than noise, the interval leaves out zero. ` +
    "Grey: too noisy to say. Of many changes, about one in twenty leaves zero out by chance; " +
    `the sentences above allow for that.${reference}`
  );
}

// The table with the choice of what it shows; null where no run has accuracies by group.
function groupBox(section) {
  const { table } = section;
  if (!table.groups.length) return null;
  const able = Object.keys(GROUP_SHOWN).filter((what) => table.cells.some((cell) => anyValue(cell, what)));
  const name = `${table.id}-shown`;
  const [grid, told] = [scrollBox("Groups by method", "high"), html("p", { class: "note" })];
  section.groups = { what: able[0], sort: null, grid, told };
  const choose = (event) => {
    section.groups.what = event.target.value;
    drawGroupTable(section);
  };
  const choices = able.map((what) => {
    const attributes = { type: "radio", name, value: what, checked: what === able[0], on: { change: choose } };
    return html("label", {}, html("input", attributes), ` ${GROUP_SHOWN[what]}`);
  });
  drawGroupTable(section);
  return html(
    "section",
    { class: "part groups-part" },
    html("h3", {}, "Which group, by which method"),
    html("div", { class: "controls choices", role: "group", "aria-label": "What the table shows" }, ...choices),
    grid,
    told,
  );
}
