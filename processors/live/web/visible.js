// Text from strangers, as a person may see it: streamgage/visible.py says the same in Python.

const HIDDEN = /[\p{C}\p{Z}]/gu;

/** Return *text* in one line: what is not printable, or turns what follows around, is written as its escape. */
export function visible(text) {
  return String(text).replace(HIDDEN, (each) => (each === " " ? each : escaped(each)));
}

function escaped(character) {
  const known = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character];
  if (known) return known;
  const code = character.codePointAt(0);
  const hex = code.toString(16);
  if (code < 0x100) return `\\x${hex.padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}

/** Return how a key is called, by the values of its fields; of no fields: all together. */
export function keyText(values) {
  return values.length === 0 ? "all together" : values.map((each) => visible(each) || "(empty)").join(" · ");
}

/** Return the pattern that *text* alone matches: in the API `*` and `?` stand for others. */
export function literalPattern(text) {
  return text.replace(/[*?]/g, "\\$&");
}
