// Elements and numbers. Text from the runs always goes in as text, never as markup.

const data = JSON.parse(document.getElementById("data").textContent);
// Lists of numbers that stand as whole ones and a power of ten.
data.pool = data.pool.map((list) =>
  Array.isArray(list) ? list : list.whole.map((value) => (value === null ? null : value / 10 ** list.tens)),
);
const runById = new Map(data.runs.map((run) => [run.id, run]));

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") Object.entries(value).forEach(([event, act]) => node.addEventListener(event, act));
    else if (value !== undefined && value !== null && value !== false)
      node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const html = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

// A box that scrolls sideways says so while its content is wider.
const scrollBox = (name, tall = "") => {
  const box = html("div", { class: `scroll ${tall}`.trim(), tabindex: "0", role: "region", "aria-label": name });
  cutBoxes.observe(box);
  return box;
};
const markCut = (box) => box.classList.toggle("cut", box.scrollWidth > box.clientWidth + 1);
const cutBoxes = new ResizeObserver((entries) => entries.forEach(({ target }) => markCut(target)));

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const numbers = (values) => values.filter(isNumber);
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const unique = (values) => [...new Set(values)];

// Fixed decimals; exactly half goes to the even digit, as in the text, Markdown and LaTeX tables.
function fixed(value, decimals) {
  const text = value.toFixed(decimals);
  const rest = value.toFixed(decimals + 30).slice(-30);
  const odd = "13579".includes(text.at(-1));
  if (!/^50*$/.test(rest) || !odd) return text;
  return value
    .toFixed(decimals + 30)
    .slice(0, -30)
    .replace(/\.$/, "");
}

// A number's text: no minus before what is zero to these decimals, and a real minus sign before what is below.
const minus = (text) => text.replace(/^-/, Number(text) === 0 ? "" : "−");

// mean ± sample sd, [k] where only k of the seeds have the value, - where none has.
function momentsText(moments, seeds, column) {
  if (!moments.n) return "-";
  const shown = (value) => minus(fixed(value * column.scale, column.decimals));
  const deviation = isNumber(moments.sd) ? ` ± ${shown(moments.sd)}` : "";
  return shown(moments.mean) + deviation + (moments.n < seeds ? ` [${moments.n}]` : "");
}
