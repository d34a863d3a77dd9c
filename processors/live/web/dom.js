// Elements, canvases and colours. Text is only ever text: nothing here, or anywhere, reads markup.

/** Return an element *tag* with *props* (attributes; `on…` listens; false and null leave out) and *children*. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((each) => each !== null && each !== undefined));
  return element;
}

/** Set the text of *element* where it is another: what did not change is not announced, and stays selected. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Return what calls *run* once after calls have stopped for *ms*. */
export function calmed(run, ms) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...values), ms);
  };
}

/** Fit *canvas* to its box; returns its context in CSS pixels, and the box. */
export function fitCanvas(canvas, width, height) {
  const ratio = globalThis.devicePixelRatio || 1;
  const [w, hgt] = [Math.max(Math.round(width * ratio), 1), Math.max(Math.round(height * ratio), 1)];
  if (canvas.width !== w || canvas.height !== hgt) {
    canvas.width = w;
    canvas.height = hgt;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

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
