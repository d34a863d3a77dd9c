// The colours of the style sheet, for what is drawn.

const NAMES = ["text", "muted", "rule", "hatch", "surface", "accent"];
const LINES = 10;

/** Return the colours that *element* has now. */
export function themeOf(element) {
  const style = getComputedStyle(element);
  const one = (name) => style.getPropertyValue(`--${name}`).trim();
  const lines = Array.from({ length: LINES }, (_, at) => one(`line-${at + 1}`));
  const light = one("line-light");
  return {
    ...Object.fromEntries(NAMES.map((name) => [name, one(name)])),
    font: `11px ${style.fontFamily}`,
    /** The colour of the n-th line: ten that are told apart well, then hues a golden angle apart. */
    line: (at) => lines[at] ?? `hsl(${Math.round((at * 137.508) % 360)} 55% ${light})`,
  };
}
