// What a view shows, kept up to date: which keys, their windows, and the windows that still change.

import { Gone, Refused } from "./feed.js";
import { Grid } from "./grid.js";
import { ROWS, changed, chunksOf, fieldsOf, rangeQuestion, spanMs, topQuestion, windowOf } from "./questions.js";
import { isoText } from "./times.js";
import { computedOf } from "./view.js";

const AGAIN_MS = 60_000; // all of it is asked again: what came late, and who is first now
const EMPTY_MS = 4_000; // … where there is nothing yet
const MOST_ROWS = 150_000;
const TOO_LARGE = new Set([413, 504]);
const LEAST_ROWS = 500;

/**
 * Follows one view. `onGrid(grid, {fresh})` hears each change, `onRefused(error)` why there is none, `onBusy(is)` that
 * all of it is being asked.
 */
export class Lens {
  #stopped = new AbortController();
  #tail = null;
  #timer = 0;
  #wake = () => {};
  #grid = null;
  keys = null; // which lines there are, where there may be more; null: all

  constructor({ feed, view, rollup, nowMs, onGrid, onRefused, onBusy }) {
    Object.assign(this, { feed, view, rollup, nowMs, onGrid, onRefused, onBusy });
    this.path = `rollups/${encodeURIComponent(rollup.name)}/range`;
    this.fields = fieldsOf(view, rollup);
  }

  /** The question for all of it, as a file is asked for. */
  get question() {
    return rangeQuestion(this.view, this.rollup, this.nowMs(), this.keys);
  }

  stop() {
    this.#stopped.abort();
    this.#tail?.stop();
    clearTimeout(this.#timer);
  }

  /** Ask all of it, show it, and follow it. */
  async start() {
    for (let isFirst = true; !this.#stopped.signal.aborted; isFirst = false) {
      const started = performance.now();
      try {
        if (isFirst) this.onBusy(true);
        await this.#load(isFirst);
        this.onRefused(null);
        this.#follow();
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        if (error instanceof Gone) {
          await this.feed.lost(error);
          continue;
        }
        if (!(error instanceof Refused)) throw error;
        this.onRefused(error);
      } finally {
        if (!this.#stopped.signal.aborted) this.onBusy(false);
      }
      const restMs = this.#grid?.length ? AGAIN_MS : EMPTY_MS;
      await this.#rest(Math.max(restMs, 10 * (performance.now() - started)));
      while (this.feed.paused || document.hidden) await this.#rest(EMPTY_MS);
    }
  }

  /** Ask all of it now. */
  soon() {
    this.#wake();
  }

  #rest(ms) {
    return new Promise((resolve) => {
      this.#timer = setTimeout(resolve, ms);
      this.#wake = resolve;
    });
  }

  async #load(isFirst) {
    const grid = await this.#lines();
    if (this.keys?.length === 0) return this.#show(grid, isFirst); // none passes the filter
    const window = windowOf(this.view, this.rollup, this.nowMs());
    let rows = 0;
    for (const chunk of chunksOf(this.view, window, Math.max(grid.lines.length, 1), this.nowMs())) {
      for await (const body of this.#pages(chunk)) {
        grid.merge(body.rows, { errors: body.errors });
        rows += body.rows.length;
        if (isFirst) this.#show(grid, true); // as it comes
        if (rows > MOST_ROWS) {
          throw new Refused(0, [`more than ${MOST_ROWS.toLocaleString("en")} rows: choose larger windows, a shorter range or fewer lines`]);
        }
      }
    }
    this.#show(grid, isFirst);
  }

  #show(grid, fresh) {
    if (this.#stopped.signal.aborted) return;
    this.#grid = grid;
    this.onGrid(grid, { fresh });
    grid.changedFrom = grid.length;
  }

  /** Return an empty grid of the first lines by the first measure. */
  async #lines() {
    const { view, rollup, fields } = this;
    const computed = computedOf(view)?.name ?? null;
    if (fields.length === 0 && !view.where) {
      this.keys = null;
      return new Grid(fields, { keys: [[]], most: 1, computed });
    }
    const by = view.measures.find((each) => each !== computed) ?? "events"; // what is computed is not ranked
    const question = topQuestion(view, rollup, this.nowMs(), by, view.top);
    const { rows } = await this.feed.ask(`rollups/${encodeURIComponent(rollup.name)}/top`, question, { signal: this.#stopped.signal });
    const keys = rows.map((row) => fields.map((field) => String(row[field] ?? "")));
    const isCut = keys.length >= view.top || view.where !== "";
    this.keys = isCut ? keys : null;
    return new Grid(fields, { keys, open: !isCut, most: view.top, computed });
  }

  /** Yield the answers of a range: as many as it takes. */
  async *#pages(chunk) {
    let [from, limit] = [chunk.from ?? null, ROWS];
    for (;;) {
      const bounds = { ...chunk, ...(from === null ? {} : { from }), limit };
      let body;
      try {
        body = await this.feed.ask(this.path, changed(this.question, bounds), { signal: this.#stopped.signal });
      } catch (error) {
        if (!(error instanceof Refused && TOO_LARGE.has(error.status) && limit > LEAST_ROWS)) throw error;
        limit = Math.floor(limit / 4);
        continue;
      }
      if (!Number(body.left ?? 0)) {
        yield body;
        return;
      }
      // The last window may be cut: it is asked for again, with those after it.
      const last = body.rows.at(-1).window_start;
      const rows = body.rows.filter((row) => row.window_start !== last);
      if (rows.length === 0) throw new Refused(0, [`one window has more than ${limit.toLocaleString("en")} rows: choose fewer lines`]);
      yield { ...body, rows };
      from = last;
    }
  }

  /** Ask for the windows that still change, again and again. */
  #follow() {
    this.#tail?.stop();
    const grid = this.#grid;
    if (!grid?.length) return;
    let fromMs = 0;
    const question = () => {
      fromMs = grid.starts[Math.max(Math.min(grid.openFrom, grid.length - 2), 0)];
      return [this.path, changed(this.question, { from: isoText(fromMs), limit: ROWS })];
    };
    this.#tail = this.feed.watch(question, {
      of: this.rollup.name,
      eager: true,
      onAnswer: (body) => {
        if (Number(body.left ?? 0)) return; // too many still change: all of it is asked again soon
        grid.merge(body.rows, { fromMs, errors: body.errors });
        const span = this.view.range === "custom" ? null : spanMs(this.view, this.nowMs());
        if (span !== null) grid.dropBefore(this.nowMs() - span);
        this.#show(grid, false);
      },
      onRefused: this.onRefused,
    });
  }
}
