// What a person wants to know first: how much comes in, how fresh it is, what was refused.

import { fitCanvas, h, say, themeOf } from "./dom.js";
import { cellText, rateText } from "./exact.js";
import { durationMs, instantMs, instantText, isoText, spanText, windowText, zoneText } from "./times.js";
import { visible } from "./visible.js";

const SPARKS = 40; // windows of the small picture
const NOW_MS = 20_000; // over which "now" is told
const FORGOTTEN_MS = 60_000; // since the answer before: what came between is not "now"
const STALE_MS = 300_000;

function tile(title, kind) {
  const big = h("span", { class: "big" }, "–");
  const unit = h("span", { class: "unit" });
  const note = h("p", { class: "note" });
  const element = h("div", { class: `tile ${kind}` }, h("h3", {}, title), h("p", { class: "line" }, big, " ", unit), note);
  return { element, big, unit, note };
}

/** How much a rollup counts: events a second now, in the last complete window, and in those before. */
export class RateTile {
  #events = new Map(); // start → events
  #counted = []; // what came between two answers: {atMs, ms, count}
  #lastMs = null;

  constructor(rollup) {
    this.rollup = rollup;
    this.window = [...rollup.windows].sort((a, b) => durationMs(a) - durationMs(b))[0];
    this.sizeMs = durationMs(this.window);
    this.spark = h("canvas", { class: "spark", "aria-hidden": "true" });
    this.parts = tile(visible(rollup.name), "rate");
    this.element = this.parts.element;
    this.element.append(this.spark);
  }

  /** The question for the windows that still change, or with *history* for those before them. */
  question(nowMs, history = false) {
    const first = (Math.floor(nowMs / this.sizeMs) - 1) * this.sizeMs;
    const range = history ? [["from", isoText(first - (SPARKS - 2) * this.sizeMs)], ["to", isoText(first)]] : [["from", isoText(first)]];
    return [`rollups/${encodeURIComponent(this.rollup.name)}/range`, [["window", this.window], ...range, ["group_by", ""]]];
  }

  /** Take an answer; null: nothing has changed. *atMs* is a clock that never goes back. */
  take(body, atMs, { history = false } = {}) {
    let count = 0;
    for (const row of body?.rows ?? []) {
      const start = instantMs(row.window_start);
      const events = Number(row.events);
      count += events - (this.#events.get(start)?.events ?? 0);
      this.#events.set(start, { events, exact: row.events, open: row.may_change });
    }
    if (history) return;
    const ms = this.#lastMs === null ? Infinity : atMs - this.#lastMs;
    this.#lastMs = atMs;
    if (ms > FORGOTTEN_MS) this.#counted = [];
    else this.#counted.push({ atMs, ms, count: Math.max(count, 0) });
    this.#counted = this.#counted.filter((each) => each.atMs > atMs - NOW_MS);
  }

  /** Show what is known at *nowMs*, the server's. */
  show(nowMs, utc) {
    const { big, unit, note } = this.parts;
    const current = Math.floor(nowMs / this.sizeMs) * this.sizeMs;
    const last = current - this.sizeMs;
    for (const start of this.#events.keys()) if (start < current - SPARKS * this.sizeMs) this.#events.delete(start);
    const full = this.#events.get(last);
    const seconds = this.sizeMs / 1000;
    const fullText = rateText((full?.events ?? 0) / seconds);
    const ms = this.#counted.reduce((sum, each) => sum + each.ms, 0);
    const isNow = ms > 0;
    const count = this.#counted.reduce((sum, each) => sum + each.count, 0);
    say(big, isNow ? rateText((count / ms) * 1000) : fullText);
    say(unit, isNow ? "events/s now" : "events/s");
    say(note, `${fullText}/s, ${cellText(full?.exact ?? 0)} in ${windowText(last, current, utc).split(" ").at(-1)}`);
    this.#draw(current);
  }

  #draw(current) {
    const [width, height] = [this.spark.clientWidth, this.spark.clientHeight];
    if (!width) return;
    const context = fitCanvas(this.spark, width, height);
    const theme = themeOf(this.spark);
    context.clearRect(0, 0, width, height);
    const starts = Array.from({ length: SPARKS }, (_, at) => current - (SPARKS - 1 - at) * this.sizeMs);
    const most = Math.max(...starts.map((start) => this.#events.get(start)?.events ?? 0), 1);
    const step = width / SPARKS;
    starts.forEach((start, at) => {
      const found = this.#events.get(start);
      const tall = found ? Math.max((found.events / most) * (height - 1), 1) : 1;
      context.fillStyle = found ? theme.accent : theme.rule;
      context.globalAlpha = found?.open ? 0.4 : found ? 0.85 : 1;
      context.fillRect(at * step, height - tall, Math.max(step - 1.5, 1), tall);
    });
  }
}

/** How far behind the answers are, and up to when they are complete. */
export class FreshTile {
  constructor() {
    this.parts = tile("Behind", "fresh");
    this.element = this.parts.element;
  }

  /** Show *status* as of *nowMs*, the server's: where nothing is applied, nothing is answered anew, and it falls behind. */
  show(status, nowMs, utc) {
    const { big, unit, note } = this.parts;
    const known = Boolean(status.applied_ms);
    const behindMs = Math.max(nowMs - Number(status.applied_ms), 0);
    this.element.classList.toggle("warn", !known || behindMs > STALE_MS);
    say(big, known ? spanText(behindMs) : "not known");
    say(unit, known && behindMs > STALE_MS ? "(stale)" : "");
    const [day, clock] = known ? instantText(Math.floor(Number(status.applied_ms) / 1000) * 1000, utc).split(" ") : [];
    const isToday = instantText(nowMs, utc).startsWith(day);
    const upTo = isToday ? clock : `${day} ${clock}`;
    say(note, known ? `complete up to ${upTo} ${zoneText(utc)}` : visible(status.freshness ?? ""));
    this.element.title = visible(status.freshness ?? "");
  }
}

/** How many messages were refused, and are kept. */
export class QuarantineTile {
  constructor() {
    this.parts = tile("Quarantine", "quarantine");
    this.element = this.parts.element;
  }

  show(status) {
    const { big, unit, note } = this.parts;
    const count = status.quarantined?.messages ?? null;
    this.element.classList.toggle("warn", count !== null && Number(count) > 0);
    say(big, count === null ? "not known" : cellText(count));
    say(unit, count === null ? "" : Number(count) === 1 ? "message" : "messages");
    say(note, count === null ? "" : Number(count) > 0 ? "⚠ refused, kept with the reason" : "nothing was refused");
  }
}
