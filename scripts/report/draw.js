// Elements, numbers and the parts that every plot has. Text from the runs always goes in as text, never as markup.

const data = JSON.parse(document.getElementById("data").textContent);
const runById = new Map(data.runs.map((run) => [run.id, run]));
const SVG = "http://www.w3.org/2000/svg";

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
const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

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

// mean ± sample sd, [k] where only k of the seeds have the value, - where none has.
function momentsText(moments, seeds, column) {
  if (!moments.n) return "-";
  const shown = (value) => fixed(value * column.scale, column.decimals);
  const deviation = isNumber(moments.sd) ? ` ± ${shown(moments.sd)}` : "";
  return shown(moments.mean) + deviation + (moments.n < seeds ? ` [${moments.n}]` : "");
}

function ticks(low, high, wanted = 5) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.7) * power;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

function tickText(value, all) {
  const step = all.length > 1 ? Math.abs(all[1] - all[0]) : Math.abs(value) || 1;
  if (step < 1e-4 || Math.abs(value) >= 1e6) return value === 0 ? "0" : value.toExponential(0).replace("e+", "e");
  return value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
}

// A range that holds all values with a margin; a single value stands in its middle.
function spread(values, margin = 0.06) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const room = high > low ? (high - low) * margin : Math.abs(high) * 0.1 || 1;
  return { low: low - room, high: high + room };
}

const linear = (from, to) => (value) => to[0] + ((value - from[0]) / (from[1] - from[0])) * (to[1] - to[0]);

// Axes, grid and titles; returns the scales. box: left, right, top, bottom in px; x, y: low, high, title, marks.
function axes(root, box, x, y) {
  const atX = linear([x.low, x.high], [box.left, box.right]);
  const atY = linear([y.low, y.high], [box.bottom, box.top]);
  const marks = {
    x: x.marks || ticks(x.low, x.high, x.wanted || 6),
    y: y.marks || ticks(y.low, y.high, y.wanted || 5),
  };
  const layer = svg("g", { class: "axes" });
  marks.x.forEach((value) => {
    layer.append(svg("line", { class: "grid", x1: atX(value), x2: atX(value), y1: box.top, y2: box.bottom }));
    layer.append(svg("text", { x: atX(value), y: box.bottom + 15, "text-anchor": "middle" }, tickText(value, marks.x)));
    if (x.twice) {
      layer.append(svg("text", { x: atX(value), y: box.top - 6, "text-anchor": "middle" }, tickText(value, marks.x)));
    }
  });
  marks.y.forEach((value) => {
    layer.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: atY(value), y2: atY(value) }));
    layer.append(svg("text", { x: box.left - 6, y: atY(value) + 4, "text-anchor": "end" }, tickText(value, marks.y)));
  });
  layer.append(svg("path", { class: "axis", d: `M${box.left},${box.top}V${box.bottom}H${box.right}` }));
  const middle = (box.left + box.right) / 2;
  layer.append(svg("text", { class: "title", x: middle, y: box.bottom + 33, "text-anchor": "middle" }, x.title));
  if (y.title) {
    const turned = `translate(14,${(box.top + box.bottom) / 2}) rotate(-90)`;
    layer.append(svg("text", { class: "title", transform: turned, "text-anchor": "middle" }, y.title));
  }
  root.append(layer);
  return { x: atX, y: atY };
}

const OUTLINES = {
  circle: (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`,
  square: (r) => `M${-r * 0.9},${-r * 0.9}h${r * 1.8}v${r * 1.8}h${-r * 1.8}Z`,
  diamond: (r) => `M0,${-r * 1.25}L${r * 1.25},0L0,${r * 1.25}L${-r * 1.25},0Z`,
  triangle: (r) => `M0,${-r * 1.2}L${r * 1.1},${r * 0.9}H${-r * 1.1}Z`,
};

function marker(look, x, y, r = 4.5, told = "") {
  const place = { class: "marker", d: OUTLINES[look.marker](r), transform: `translate(${x},${y})`, fill: look.color };
  return svg("path", place, told && svg("title", {}, told));
}

// A line through the points that are there; a hole breaks it.
function path(xs, ys, scale, look, attributes = {}) {
  let pen = "M";
  const steps = [];
  ys.forEach((y, i) => {
    if (isNumber(y)) steps.push(`${pen}${scale.x(xs[i]).toFixed(1)},${scale.y(y).toFixed(1)}`);
    pen = isNumber(y) ? "L" : "M";
  });
  const dash = look.dash.length ? look.dash.join(" ") : null;
  return svg("path", { class: "line", d: steps.join(""), stroke: look.color, "stroke-dasharray": dash, ...attributes });
}

function hatch(id, color) {
  const line = svg("path", { d: "M0,6L6,0M-1,1L1,-1M5,7L7,5", stroke: "#fff", "stroke-width": 1.4 });
  const ground = svg("rect", { width: 6, height: 6, fill: color });
  return svg("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse" }, ground, line);
}

let drawn = 0;
const nextId = (name) => `${name}-${(drawn += 1)}`;

function canvas(width, height, told) {
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": told });
}

function swatch(look) {
  const root = svg("svg", { width: 30, height: 14, viewBox: "0 0 30 14", "aria-hidden": "true" });
  if ("hatch" in look) {
    const id = nextId("hatch");
    root.append(svg("defs", {}, hatch(id, look.color)));
    root.append(svg("rect", { x: 4, y: 1, width: 22, height: 12, fill: look.hatch ? `url(#${id})` : look.color }));
    return root;
  }
  const scale = { x: (value) => value, y: (value) => value };
  if (look.dash) root.append(path([1, 29], [7, 7], scale, look));
  if (look.marker) root.append(marker(look, 15, 7));
  return root;
}

const keyOf = (looks) => html("ul", { class: "key" }, ...looks.map((look) => html("li", {}, swatch(look), look.label)));

// A plot with its title above, its key, and what has to be said about it below.
function figure(name, title, body, looks, caption) {
  const key = looks.length ? keyOf(looks) : null;
  const below = caption ? html("figcaption", {}, caption) : null;
  return html("figure", { class: `plot ${name}`, "data-plot": name }, html("h4", {}, title), key, body, below);
}
