// One measure over time: a picture, and a cursor that pointer and keys move over its windows.

import { fitCanvas, h, say, themeOf } from "./dom.js";
import { cellText } from "./exact.js";
import { frameOf, paint, paintCursor } from "./paint.js";
import { extent } from "./scales.js";
import { windowText } from "./times.js";
import { keyText } from "./visible.js";

const SPOKEN = 5; // lines that a screen reader is told of at once
const SHOWN = 10; // in the box beside the cursor
const DRAG_PX = 8;
const PAGE = 10; // windows that Page Up and Page Down pass

/** The chart of *column*. `onCursor(n)` hears of its cursor, `onRange(fromMs, toMs)` of a range that was drawn. */
export class Chart {
  #frame = null;
  #lines = [];
  #theme = null;
  #at = null;
  #line = null; // the one that is meant, by its place
  #drag = null;
  #drawn = "";
  #openFrom = null;

  constructor(column, { title, onCursor, onRange, help }) {
    this.column = column;
    this.onCursor = onCursor;
    this.onRange = onRange;
    this.base = h("canvas", { "aria-hidden": "true" });
    this.over = h("canvas", { "aria-hidden": "true" });
    this.box = h("div", { class: "readout", "aria-hidden": "true", hidden: true });
    this.note = h("span", { class: "note" });
    this.plot = h(
      "div",
      {
        class: "plot", tabindex: "0", role: "slider", "aria-label": `${title} over time, by window`, "aria-describedby": help || null,
        "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0", "aria-valuetext": "no data",
        onpointermove: (event) => this.#moved(event), onpointerleave: (event) => event.pointerType !== "touch" && this.#left(),
        onpointerdown: (event) => this.#down(event), onpointerup: (event) => this.#up(event),
        onpointercancel: () => this.#left(), onkeydown: (event) => this.#key(event), onblur: () => this.#left(),
      },
      this.base, this.over, this.box,
    );
    this.element = h("figure", { class: "chart" }, h("figcaption", {}, h("b", {}, title), " ", this.note), this.plot);
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.plot);
  }

  close() {
    this.resized.disconnect();
    this.element.remove();
  }

  /** Show *grid*: *hidden* are ids of lines that are not drawn, *utc* the zone, *tells* what one error bound means. */
  show(grid, { hidden = new Set(), utc = true, compare = false, tells = "" } = {}) {
    Object.assign(this, { grid, hidden, utc, compare });
    const error = grid.errors[this.column];
    say(this.note, error ? `± ${(error * 100).toFixed(2)} % at most: the band${tells && ` (${tells})`}` : "");
    this.draw(grid.changedFrom);
  }

  /** Draw from the window *from* on, where nothing else has moved; else all of it. */
  draw(from = 0) {
    const { grid } = this;
    const [width, height] = [this.plot.clientWidth, this.plot.clientHeight];
    if (!grid || !width || !height) return;
    if (!this.#theme || from === 0) this.#theme = themeOf(this.plot);
    const shown = grid.lines.map((line, at) => [line, at]).filter(([line]) => !this.hidden.has(line.id));
    const error = grid.errors[this.column] || 0;
    const before = `${this.column}.before`;
    this.#lines = shown.map(([line, at]) => ({
      key: line.key, rows: line.rows, colour: this.#theme.line(at), error,
      values: grid.values(line, this.column),
      before: this.compare ? grid.values(line, before) : null,
      partial: (each) => line.rows[each]?.partial === true,
    }));
    const context = fitCanvas(this.base, width, height);
    context.font = this.#theme.font;
    const range = extent(this.#lines.flatMap((line) => (line.before ? [line.values, line.before] : [line.values])));
    const baseline = grid.isAdditive(this.column);
    const measure = (text) => context.measureText(text).width;
    const frame = frameOf({ starts: grid.starts, ends: grid.ends, width, height, range, baseline, utc: this.utc, measure });
    const openFrom = grid.openFrom;
    const same = this.#frame?.same === frame.same && this.#drawn === this.#signature();
    this.#frame = frame;
    const firstChanged = Math.min(from, openFrom, this.#openFrom ?? 0);
    paint(context, frame, this.#lines, { openFrom, theme: this.#theme, from: same ? firstChanged : 0 });
    this.#drawn = this.#signature();
    this.#openFrom = openFrom;
    this.plot.setAttribute("aria-valuemax", String(Math.max(grid.length - 1, 0)));
    this.#mark();
  }

  #signature() {
    return `${this.#lines.map((each) => each.colour).join()}|${this.compare}|${this.base.width}|${this.base.height}`;
  }

  /** Forget the colours: it is dark now, or light. */
  repaint() {
    this.#theme = null;
    this.draw();
  }

  /** Put the cursor at the window *at*; null: nowhere. */
  set cursor(at) {
    this.#at = at === null || !this.grid?.length ? null : Math.min(Math.max(at, 0), this.grid.length - 1);
    if (this.#at === null) this.#line = null;
    this.#mark();
  }

  /** Let the line of *id* stand out; null: none. */
  set meant(id) {
    const at = this.#lines.findIndex((each) => JSON.stringify(each.key) === id);
    this.#line = at < 0 ? null : at;
    this.#mark();
  }

  #mark() {
    if (!this.#frame) return;
    const context = fitCanvas(this.over, this.#frame.width, this.#frame.height);
    const line = this.#line === null ? null : (this.#lines[this.#line] ?? null);
    paintCursor(context, this.#frame, { at: this.#at, line, selected: this.#drag, theme: this.#theme });
    this.#read();
  }

  /** Return the lines that have a value at the window *at*, the greatest first; the one that is meant before all. */
  #ranked(at) {
    const known = this.#lines.map((line, place) => ({ line, place, value: line.values[at] }));
    return known
      .filter(({ value }) => !Number.isNaN(value))
      .sort((a, b) => (b.place === this.#line) - (a.place === this.#line) || b.value - a.value || a.place - b.place);
  }

  #cells(line, at) {
    const row = line.rows[at];
    const value = row ? cellText(row[this.column]) : "0";
    const before = this.compare && row ? cellText(row[`${this.column}.before`]) : "";
    const percent = row?.[`${this.column}.change_percent`];
    const change = percent === null || percent === undefined ? "" : `${percent > 0 ? "+" : ""}${cellText(percent)} %`;
    return { value: value || "–", before: before && `before ${before}${change && `, ${change}`}` };
  }

  #read() {
    const { grid, plot, box } = this;
    const at = this.#at;
    box.hidden = at === null;
    if (at === null) {
      const last = grid.length - 1;
      plot.setAttribute("aria-valuenow", String(Math.max(last, 0)));
      plot.setAttribute("aria-valuetext", last < 0 ? "no data" : `${grid.length} windows, ${this.#lines.length} lines`);
      return;
    }
    const window = windowText(grid.starts[at], grid.ends[at], this.utc);
    const ranked = this.#ranked(at);
    const isOpen = at >= grid.openFrom;
    const told = ranked.slice(0, SPOKEN).map(({ line }) => {
      const { value, before } = this.#cells(line, at);
      return `${keyText(line.key)}: ${value}${before && ` (${before})`}`;
    });
    const more = ranked.length > SPOKEN ? `; ${ranked.length - SPOKEN} more lines` : "";
    plot.setAttribute("aria-valuenow", String(at));
    plot.setAttribute("aria-valuetext", `${window}${isOpen ? ", may still change" : ""}. ${told.join("; ") || "no events"}${more}`);
    const rows = ranked.slice(0, SHOWN).map(({ line, place }) => {
      const swatch = h("i", { class: "swatch" });
      swatch.style.background = line.colour;
      const { value, before } = this.#cells(line, at);
      return h(
        "tr", { class: place === this.#line ? "meant" : null },
        h("th", {}, swatch, keyText(line.key)), h("td", {}, value), before ? h("td", { class: "before" }, before) : null,
      );
    });
    box.replaceChildren(
      h("p", {}, window, isOpen ? h("em", {}, " may still change") : null),
      h("table", { role: "presentation" }, h("tbody", {}, ...rows)),
      ranked.length > SHOWN ? h("p", { class: "more" }, `and ${ranked.length - SHOWN} more`) : "",
    );
    const frame = this.#frame;
    const isLeft = frame.x[at] > (frame.left + frame.right) / 2;
    const x = isLeft ? Math.max(frame.x[at] - box.offsetWidth - 14, 0) : frame.x[at] + 14;
    box.style.transform = `translate(${Math.round(Math.min(x, frame.width - box.offsetWidth))}px, ${frame.top}px)`;
  }

  #nearest(px) {
    const { x } = this.#frame;
    let best = null;
    for (let at = 0; at < x.length; at += 1) {
      if (best === null || Math.abs(x[at] - px) < Math.abs(x[best] - px)) best = at;
    }
    return best;
  }

  #place(event) {
    const bounds = this.plot.getBoundingClientRect();
    return [event.clientX - bounds.left, event.clientY - bounds.top];
  }

  #moved(event) {
    if (!this.#frame || !this.grid.length) return;
    const [px, py] = this.#place(event);
    if (this.#drag) this.#drag[1] = Math.min(Math.max(px, this.#frame.left), this.#frame.right);
    const at = this.#nearest(px);
    let [line, least] = [null, Infinity];
    this.#lines.forEach((each, place) => {
      const off = Math.abs(this.#frame.y(each.values[at]) - py);
      if (off < least) [line, least] = [place, off];
    });
    [this.#at, this.#line] = [at, line];
    this.#mark();
    this.onCursor(at);
  }

  #down(event) {
    if (event.button !== 0 || !this.#frame) return;
    if (event.pointerType === "touch") return this.#moved(event); // a finger that moves on scrolls
    const [px] = this.#place(event);
    this.#drag = [px, px];
    return this.plot.setPointerCapture(event.pointerId);
  }

  #up(event) {
    const drag = this.#drag;
    this.#drag = null;
    if (!drag || Math.abs(drag[1] - drag[0]) < DRAG_PX) return this.#moved(event);
    const [from, to] = drag.map((px) => this.#nearest(px)).sort((a, b) => a - b);
    return this.onRange(this.grid.starts[from], this.grid.ends[to]);
  }

  #left() {
    this.#drag = null;
    this.cursor = null;
    this.onCursor(null);
  }

  #key(event) {
    if (!this.grid?.length || event.ctrlKey || event.altKey || event.metaKey) return;
    const last = this.grid.length - 1;
    const at = this.#at ?? last + 1;
    const to = {
      ArrowLeft: at - 1, ArrowRight: at + 1, PageDown: at - PAGE, PageUp: at + PAGE, Home: 0, End: last,
      ArrowUp: Math.min(at, last), ArrowDown: Math.min(at, last), Escape: null,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to === null) return this.#left();
    if (event.key === "ArrowUp" || event.key === "ArrowDown") this.#step(Math.min(at, last), event.key === "ArrowUp" ? -1 : 1);
    this.cursor = to;
    this.onCursor(this.#at);
  }

  /** Mean the next line by rank at the window *at*. */
  #step(at, by) {
    const meant = this.#line;
    this.#line = null;
    const places = this.#ranked(at).map(({ place }) => place);
    if (!places.length) return;
    const now = places.indexOf(meant);
    this.#line = places[now < 0 ? 0 : (now + by + places.length) % places.length];
  }
}
