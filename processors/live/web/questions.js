// A view as questions to the API: which window, which lines, in how many answers.

import { RANGES, computedOf } from "./view.js";
import { durationMs, isoText } from "./times.js";

const MOST_POINTS = 1_500; // of a line, where the page chooses the window
const MOST_WHERE = 3_800; // characters; the language takes 4,000
const MOST_PARTS = 100; // comparisons; the language takes 500 parts, of which one has three or more
const SILENT = 20;
export const ROWS = 10_000; // an answer: some 3 MB; Lambda gives 6 MB at most
export const COARSER = ["5m", "15m", "1h", "6h", "1d", "1w", "1mo"];

/** Return how long the view's range is, in ms; null: not known. */
export function spanMs(view, nowMs) {
  if (view.range === "custom") return view.fromMs === null ? null : (view.toMs ?? nowMs) - view.fromMs;
  return view.range in RANGES ? durationMs(view.range) : null;
}

/** Return the window that is asked for: the view's, or the smallest kept one that gives no more than 1,500 points. */
export function windowOf(view, rollup, nowMs) {
  if (view.window) return view.window;
  const kept = [...rollup.windows].sort((a, b) => (durationMs(a) ?? 0) - (durationMs(b) ?? 0));
  const span = spanMs(view, nowMs);
  const fits = (each) => span !== null && span / (durationMs(each) ?? 1) <= MOST_POINTS;
  return kept.find(fits) ?? kept.at(-1);
}

/** Return what every question of the view has: its range, its window, its keys. */
export function asked(view, rollup, nowMs) {
  const out = [["window", windowOf(view, rollup, nowMs)]];
  if (view.range === "custom") {
    if (view.fromMs !== null) out.push(["from", isoText(view.fromMs)]);
    if (view.toMs !== null) out.push(["to", isoText(view.toMs)]);
  } else if (view.range !== "all") {
    out.push(["from", view.range]);
  }
  for (const [field, pattern] of Object.entries(view.keys)) if (pattern !== "") out.push([`key.${field}`, pattern]);
  if (view.lines !== null) out.push(["group_by", view.lines.join(",")]);
  return out;
}

/** Return the fields that tell lines apart. */
export function fieldsOf(view, rollup) {
  return view.lines ?? rollup.key;
}

/** Return the question for the first *n* keys of the whole range, of those that the view's filter is true of. */
export function topQuestion(view, rollup, nowMs, by, n) {
  const where = view.where ? [["where", view.where]] : [];
  return [...asked(view, rollup, nowMs), ...where, ["by", by], ["n", String(n)]];
}

/** Return the question for the keys that were silent the longest: by now, or by the end of a range that is over. */
export function silentQuestion(view, nowMs) {
  const byMs = silentBy(view, nowMs);
  return [["for", view.silent], ["limit", String(SILENT)], ...(byMs === null ? [] : [["at", isoText(byMs)]])];
}

/** Return by when silence is told, where that is not now: the end of a range that is over. */
export function silentBy(view, nowMs) {
  return view.range === "custom" && view.toMs !== null && view.toMs < nowMs ? view.toMs : null;
}

/** Return the question for the windows of *keys*; more may come, where an expression of them all would be too long. */
export function rangeQuestion(view, rollup, nowMs, keys) {
  const out = asked(view, rollup, nowMs);
  const where = keys && whereOf(fieldsOf(view, rollup), keys);
  if (where) out.push(["where", where]);
  if (view.compare) out.push(["compare", view.compare]);
  const computed = computedOf(view);
  if (view.select) out.push(["select", computed ? `${computed.name}=${computed.expression}` : view.select]);
  return out;
}

/** Return *question* with other *values* of some parameters. */
export function changed(question, values) {
  return [...question.filter(([name]) => !(name in values)), ...Object.entries(values).map(([name, each]) => [name, String(each)])];
}

/**
 * Return an expression that is true of *keys*: of them alone, or where that would be too long of what shares each field's
 * values with one of them; "" where that is too long as well.
 */
export function whereOf(fields, keys) {
  const names = fields.map(quotedName);
  const isIn = names.map((name, at) => `${name} in (${[...new Set(keys.map((key) => key[at]))].map(quoted).join(", ")})`);
  const each = keys.map((key) => `(${names.map((name, at) => `${name} = ${quoted(key[at])}`).join(" and ")})`);
  const exact = fields.length > 1 && keys.length * fields.length <= MOST_PARTS ? [each.join(" or ")] : [];
  return [...exact, isIn.join(" and ")].find((text) => text.length <= MOST_WHERE) ?? "";
}

function quoted(text) {
  return `'${text.replaceAll("'", "''")}'`;
}

function quotedName(name) {
  return `"${name.replaceAll('"', '""')}"`; // also where it is a word of the language
}

/** Return the ranges ``[from, to)`` in which *lines* lines are asked for, so that an answer has ROWS rows at most. */
export function chunksOf(view, window, lines, nowMs) {
  const span = spanMs(view, nowMs);
  const size = durationMs(window);
  if (span === null || size === null || (span / size) * lines <= ROWS) return [{}];
  const endMs = view.range === "custom" ? (view.toMs ?? nowMs) : nowMs;
  const each = Math.max(Math.floor(ROWS / lines), 1) * size;
  const firstMs = Math.floor((endMs - span) / size) * size;
  const chunks = [];
  for (let at = firstMs; at < endMs; at += each) chunks.push({ from: isoText(at), to: isoText(at + each) });
  if (view.range !== "custom") delete chunks.at(-1).to; // clocks may be ahead
  return chunks;
}
