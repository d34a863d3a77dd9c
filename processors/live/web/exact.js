// Numbers as they came. JSON's may be of any length; a double holds some fifteen digits.

/** A number that no double holds: its decimal text, and by `Number(…)` the nearest double, to draw it. */
export class Exact {
  constructor(text) {
    this.text = text;
  }
  valueOf() {
    return Number(this.text);
  }
  toString() {
    return this.text;
  }
}

// Sixteen digits, or an exponent. In a text it is found as well, which costs time only.
const LONG = /\d[\d.]{15}|\d[eE][+-]?\d/;
const TEXTS_AND_NUMBERS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const HELD = "\0exact";
const MOST_ZEROS = 400; // an exponent is written out up to here: doubles end at 308

/** Return what the JSON *text* says; a number that a double does not hold is an Exact. Throws: SyntaxError. */
export function parseExact(text) {
  if (!LONG.test(text)) return JSON.parse(text);
  // Not every browser tells how a number was written: each long one travels as a text in an object.
  const held = text.replace(TEXTS_AND_NUMBERS, (token) => (token[0] === '"' || !LONG.test(token) ? token : `{${JSON.stringify(HELD)}:"${token}"}`));
  return JSON.parse(held, (_, value) => (value !== null && typeof value === "object" && Object.hasOwn(value, HELD) ? kept(value[HELD]) : value));
}

function kept(source) {
  const value = Number(source);
  return decimal(String(value)) === decimal(source) ? value : new Exact(decimal(source));
}

/** Return the JSON number *text* without exponent and without zeros that say nothing. */
export function decimal(text) {
  const [, sign, whole, part = "", exponent = "0"] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text) ?? [];
  if (whole === undefined || Math.abs(Number(exponent)) > MOST_ZEROS) return text;
  const digits = whole + part;
  const point = whole.length + Number(exponent);
  const padded = point > 0 ? digits.padEnd(point, "0") : "0".repeat(1 - point) + digits;
  const at = Math.max(point, 1);
  const left = padded.slice(0, at).replace(/^0+(?=\d)/, "");
  const right = padded.slice(at).replace(/0+$/, "");
  const shown = right ? `${left}.${right}` : left;
  return shown === "0" ? "0" : sign + shown;
}

/** Return a cell of an answer as people read it: every digit, thousands apart; nothing for null. */
export function cellText(cell) {
  if (cell === null || cell === undefined) return "";
  if (typeof cell === "boolean") return cell ? "yes" : "no";
  return typeof cell === "number" || cell instanceof Exact ? grouped(decimal(String(cell))) : String(cell);
}

/** Return a cell in few characters: of a long fraction the first digits, and a sign that there are more. */
export function briefText(cell) {
  return cellText(cell).replace(/(\.\d{2})\d{3,}$/, "$1…");
}

/** Order numbers of answers: negative where *a* is less. What doubles hold as one is told apart by its digits. */
export function compareExact(a, b) {
  const less = Number(a) - Number(b);
  if (less || (typeof a === "number" && typeof b === "number")) return less;
  const [x, y] = [a, b].map((each) => decimal(String(each)).replace("-", "").split("."));
  const width = Math.max(x[0].length, y[0].length);
  const [p, q] = [x, y].map(([whole, part = ""]) => `${whole.padStart(width, "0")}.${part}`);
  return (p < q ? -1 : Number(p > q)) * (Number(a) < 0 ? -1 : 1);
}

/** Return the decimal *text* with commas between thousands. */
export function grouped(text) {
  const [whole, part] = text.split(".");
  const shown = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return part === undefined ? shown : `${shown}.${part}`;
}

const UNITS = ["", "k", "M", "G", "T", "P"];

/** Return a tick of an axis whose ticks are *step* apart, in few characters: 1.5k, 20M. */
export function tickText(value, step) {
  if (value === 0) return "0";
  const power = Math.floor(Math.log10(Math.max(Math.abs(value), step)) / 3 + 1e-9);
  if (power < 0 || power >= UNITS.length) {
    return power < -2 || power > 0 ? value.toExponential(1) : decimal(String(Number(value.toPrecision(6))));
  }
  const unit = 1000 ** power;
  const places = Math.min(Math.max(0, Math.ceil(-Math.log10(step / unit) - 1e-9)), 6);
  return decimal((value / unit).toFixed(places)) + UNITS[power];
}

/** Return a rate a second: three digits where it is small, whole where it is large. */
export function rateText(rate) {
  if (!Number.isFinite(rate)) return "–";
  const places = rate >= 100 || rate === 0 ? 0 : rate >= 10 ? 1 : rate >= 0.1 ? 2 : 4;
  return grouped(decimal(rate.toFixed(places)));
}
