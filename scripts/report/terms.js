// What words mean, a pointer, a tap or the focus away: every element with data-hint; and the list at the end.

function watchHints() {
  const act = (event) => {
    const node = event.target.closest?.("[data-hint]");
    if (!node) return say("");
    const { left, bottom } = node.getBoundingClientRect();
    say(node.dataset.hint, left - 12, bottom - 10);
  };
  ["mouseover", "focusin", "click"].forEach((name) => document.addEventListener(name, act));
  document.addEventListener("focusout", () => say(""));
  document.addEventListener("keydown", (event) => event.key === "Escape" && say(""));
}

// A word that has a meaning to show.
const term = (text, hint) => html("span", { class: "term", tabindex: "0", "data-hint": hint }, text);

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const glossaryTerms = Object.keys(data.glossary)
  .filter((word) => word.length > 1 && word !== "run") // in sentences a verb too
  .sort((a, b) => b.length - a.length);
// The longest term counts, and no part of a longer word does; a term in small letters may begin a sentence.
const inSentence = (word) => {
  const [first, rest] = [word[0], escaped(word.slice(1))];
  return word === word.toLowerCase() ? `(?:${escaped(first.toUpperCase())}|${escaped(first)})${rest}` : escaped(word);
};
const anyTerm = glossaryTerms.map(inSentence).join("|") || "(?!)";
// In quotes stand groups, and in brackets behind a method variants and tags: names, whatever their words are.
const inBrackets = ({ name }) => (name.match(/ \(.*\)$/) || []).map(escaped);
const bracketed = unique(data.tables.flatMap(({ cells }) => cells.flatMap(inBrackets)));
const anyName = ['"[^"]*"', ...bracketed.sort((a, b) => b.length - a.length)].join("|");
const termPattern = new RegExp(`(?<name>${anyName})|(?<![\\p{L}\\p{N}_-])(?:${anyTerm})(?![\\p{L}\\p{N}_-])`, "gu");
const meaningOf = (word) => data.glossary[word] || data.glossary[word[0].toLowerCase() + word.slice(1)];

// A sentence as nodes, the first of each term with its meaning; seen: the terms that need none any more.
function termed(text, seen = new Set()) {
  const nodes = [];
  let last = 0;
  for (const found of text.matchAll(termPattern)) {
    const meaning = !found.groups.name && meaningOf(found[0]);
    if (!meaning || seen.has(meaning)) continue;
    seen.add(meaning);
    nodes.push(text.slice(last, found.index), term(found[0], meaning));
    last = found.index + found[0].length;
  }
  return [...nodes, text.slice(last)];
}

function glossaryList() {
  const lines = Object.entries(data.glossary).map(([word, meaning]) =>
    html("tr", {}, html("th", { scope: "row" }, word), html("td", {}, meaning)),
  );
  if (!lines.length) return null;
  return html(
    "details",
    { class: "fold glossary" },
    html("summary", {}, "Every word and abbreviation"),
    html("div", { class: "scroll" }, html("table", { class: "keys" }, html("tbody", {}, ...lines))),
  );
}

const ABOUT = {
  request: "Asked for",
  original: "Original model",
  forget_groups: "Forget groups",
  harm: "Harm",
  others: "Other groups",
  attack: "Can it be told?",
  audit: "Audit",
  cost: "Cost",
  comparison: "Comparison",
  missing: "Not known",
};

// Sentences of the payload: what each is about, and the sentence.
function storyList(story) {
  const seen = new Set();
  const lines = story.flatMap(({ about, text }, i) => {
    const again = i > 0 && story[i - 1].about === about;
    return [html("dt", {}, again ? "" : ABOUT[about] || ""), html("dd", {}, ...termed(text, seen))];
  });
  return lines.length ? html("dl", { class: "story" }, ...lines) : null;
}
