// What is looked at, as one value; and the part of the address behind # that holds all of it.

export const RANGES = { "1h": "last hour", "6h": "last 6 hours", "1d": "last day", "7d": "last 7 days", all: "all there is" };
export const COMPARES = { "": "nothing", previous: "the window before", "1h": "an hour before", "1d": "a day before", "7d": "a week before" };
export const TOPS = [1, 3, 5, 10, 20, 50, 100];
export const SILENCES = ["1m", "5m", "15m", "1h", "6h", "1d"];
export const MOST_MEASURES = 4;
const MOST_CHARS = 2_000; // of one value of a link

/**
 * A view. `window` "" is chosen by the range; `range` is one of RANGES or "custom", of *fromMs* to *toMs* (null: no bound);
 * `keys` are patterns by field; `lines` the fields that tell lines apart, null: all of the key; `top` how many lines.
 * `where` is an expression of a line's numbers over the range, `select` a "name = expression" of each window's; `sort` the
 * column by which the table stands, "" by window, the least first where it goes `up`.
 */
export const DEFAULT = Object.freeze({
  rollup: "", window: "", range: "1h", fromMs: null, toMs: null, keys: Object.freeze({}), lines: null,
  measures: Object.freeze(["events"]), top: 10, compare: "", silent: "5m", utc: true,
  where: "", select: "", sort: "", up: false,
});

/** Return *view* as the text behind #; what is as by default is left out. */
export function toHash(view) {
  const out = new URLSearchParams();
  for (const name of ["rollup", "window", "range", "compare", "silent", "where", "select", "sort"]) {
    if (view[name] !== DEFAULT[name]) out.set(name, view[name]);
  }
  if (view.range === "custom") {
    if (view.fromMs !== null) out.set("from", new Date(view.fromMs).toISOString());
    if (view.toMs !== null) out.set("to", new Date(view.toMs).toISOString());
  }
  for (const [field, pattern] of Object.entries(view.keys)) if (pattern !== "") out.set(`key.${field}`, pattern);
  if (view.lines !== null) out.set("lines", JSON.stringify(view.lines));
  if (view.measures.join() !== DEFAULT.measures.join()) out.set("measures", JSON.stringify(view.measures));
  if (view.top !== DEFAULT.top) out.set("top", String(view.top));
  if (!view.utc) out.set("time", "local");
  if (view.up) out.set("order", "up");
  return out.toString();
}

/** Return the view that *hash* says. What it says wrongly is as by default: a link comes from strangers. */
export function fromHash(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const text = (name) => (given.get(name) ?? DEFAULT[name]).slice(0, MOST_CHARS);
  const one = (name, known) => (known.includes(text(name)) ? text(name) : DEFAULT[name]);
  const top = Number(given.get("top") ?? DEFAULT.top);
  const keys = [...given].filter(([name, value]) => name.startsWith("key.") && value !== "");
  const fromMs = time(given.get("from"));
  const toMs = time(given.get("to"));
  const isRange = fromMs === null || toMs === null || fromMs < toMs;
  return {
    rollup: text("rollup"), window: text("window"),
    range: isRange ? one("range", [...Object.keys(RANGES), "custom"]) : DEFAULT.range,
    fromMs: isRange ? fromMs : null, toMs: isRange ? toMs : null,
    keys: Object.fromEntries(keys.map(([name, value]) => [name.slice(4), value.slice(0, MOST_CHARS)])),
    lines: texts(given.get("lines")),
    measures: texts(given.get("measures"))?.slice(0, MOST_MEASURES) ?? [...DEFAULT.measures],
    top: Number.isInteger(top) && top >= 1 && top <= 100 ? top : DEFAULT.top,
    compare: text("compare"), silent: one("silent", SILENCES), utc: given.get("time") !== "local",
    where: text("where"), select: text("select"), sort: text("sort"), up: given.get("order") === "up",
  };
}

function time(text) {
  const ms = text === null ? NaN : Date.parse(text);
  return Number.isNaN(ms) ? null : ms;
}

function texts(json) {
  try {
    const found = JSON.parse(json ?? "null");
    return Array.isArray(found) ? found.filter((each) => typeof each === "string").map((each) => each.slice(0, MOST_CHARS)) : null;
  } catch {
    return null;
  }
}

/** Return the column that *view* computes, as {name, expression}; null where it says none. */
export function computedOf({ select }) {
  const found = /^\s*([^=]*[^=\s])\s*=\s*(.*\S)/s.exec(select);
  return found && { name: found[1], expression: found[2] };
}

/** Return the columns of *rollup* that can be drawn, and the one that *view* computes. */
export function numbersOf(view, rollup) {
  const names = rollup.columns.filter((each) => each.kind === "number").map((each) => each.name);
  const computed = computedOf(view);
  return computed && !names.includes(computed.name) ? [...names, computed.name] : names;
}

/** Return *view* as far as *rollups* have it: another rollup, field or measure than there is becomes the nearest. */
export function fitted(view, rollups) {
  const rollup = rollups.find((each) => each.name === view.rollup) ?? rollups[0];
  if (!rollup) return view;
  const numbers = numbersOf(view, rollup);
  const measures = view.measures.filter((each) => numbers.includes(each));
  const lines = view.lines?.filter((each) => rollup.key.includes(each)) ?? null;
  return {
    ...view,
    rollup: rollup.name,
    keys: Object.fromEntries(Object.entries(view.keys).filter(([field]) => rollup.key.includes(field))),
    lines: lines?.length === rollup.key.length ? null : lines,
    measures: measures.length ? measures : numbers.slice(0, 1),
  };
}
