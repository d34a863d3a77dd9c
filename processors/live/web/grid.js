// Rows of an answer as lines: windows × keys, merged as answers come.

import { instantMs } from "./times.js";

const ADDITIVE = new Set(["events", "count", "sum", "distinct", "sessions", "bounces"]);
const MOST_WINDOWS = 20_000;

/**
 * Lines of *fields*, at most *most*: those of *keys*, in their order, and where it is *open* those that come as well.
 * *computed* is the column that is no measure.
 * `starts` and `ends` are the windows, in order and without a gap where they are of one length.
 * A line's `rows[n]` is what was answered of the n-th window; undefined where it had no events.
 */
export class Grid {
  #stale = Infinity;

  constructor(fields, { keys = [], open = true, most = 100, computed = null } = {}) {
    this.fields = fields;
    this.most = most;
    this.computed = computed;
    this.starts = [];
    this.ends = [];
    this.lines = [];
    this.left = 0; // keys beyond *most*
    this.errors = {};
    this.changedFrom = 0; // the first window of which something is new since `drawn`
    this.byKey = new Map();
    this.open = true;
    for (const key of keys) this.#line(key);
    this.open = open;
  }

  get length() {
    return this.starts.length;
  }

  /** Whether *column* is 0 where nothing happened; others have no value then. */
  isAdditive(column) {
    return column !== this.computed && ADDITIVE.has(column.split(".").at(-1));
  }

  #line(key) {
    const id = JSON.stringify(key);
    if (this.byKey.has(id) || !this.open) return this.byKey.get(id);
    if (this.lines.length >= this.most) {
      this.left += 1;
      this.byKey.set(id, undefined);
      return undefined;
    }
    const line = { id, key, rows: [], columns: new Map() };
    this.byKey.set(id, line);
    this.lines.push(line);
    return line;
  }

  /** Take *rows*, which are all there are of the windows that end after *fromMs*; null: of the windows that they name. */
  merge(rows, { fromMs = null, errors = {} } = {}) {
    const found = new Map();
    for (const row of rows) {
      const startMs = instantMs(row.window_start);
      if (!found.has(startMs)) found.set(startMs, instantMs(row.window_end));
    }
    const first = fromMs === null ? Infinity : this.ends.findIndex((end) => end > fromMs);
    const cleared = fromMs === null ? null : first < 0 ? this.length : first;
    this.#extend(found);
    const at = new Map(this.starts.map((start, index) => [start, index]));
    if (cleared !== null) this.#clear(cleared);
    for (const row of rows) {
      const index = at.get(instantMs(row.window_start));
      const line = this.#line(this.fields.map((field) => String(row[field] ?? "")));
      if (!line) continue;
      line.rows[index] = row;
      this.#touch(index);
    }
    for (const [name, bound] of Object.entries(errors)) {
      this.errors[name] = Math.max(Number(bound), this.errors[name] ?? 0);
    }
    for (const line of this.lines) {
      for (const column of line.columns.values()) column.valid = Math.min(column.valid, this.#stale);
    }
    this.#stale = Infinity;
  }

  /** Forget the windows that end before *ms*. */
  dropBefore(ms) {
    const count = this.ends.findIndex((end) => end > ms);
    if (count <= 0) return;
    this.starts.splice(0, count);
    this.ends.splice(0, count);
    for (const line of this.lines) {
      line.rows.splice(0, count);
      line.columns.clear();
    }
    this.changedFrom = 0;
  }

  #clear(from) {
    for (const line of this.lines) line.rows.length = Math.min(line.rows.length, from);
    this.#touch(from);
  }

  #touch(index) {
    this.changedFrom = Math.min(this.changedFrom, index);
    this.#stale = Math.min(this.#stale, index);
  }

  #extend(found) {
    const known = new Set(this.starts);
    if ([...found.keys()].every((start) => known.has(start))) return;
    const ends = new Map(this.starts.map((start, index) => [start, this.ends[index]]));
    for (const [start, end] of found) ends.set(start, end);
    const before = this.starts;
    this.starts = [...ends.keys()].sort((a, b) => a - b);
    fillGaps(this.starts, ends);
    this.ends = this.starts.map((start) => ends.get(start));
    const same = before.findIndex((start, index) => start !== this.starts[index]);
    if (same >= 0) this.#move(before);
    this.#touch(same >= 0 ? 0 : before.length);
  }

  #move(before) {
    const at = new Map(this.starts.map((start, index) => [start, index]));
    for (const line of this.lines) {
      const rows = [];
      line.rows.forEach((row, index) => {
        rows[at.get(before[index])] = row;
      });
      line.rows = rows;
    }
  }

  /** Return the numbers of *column* of *line*, one a window; NaN where there is none. Valid until the next merge. */
  values(line, column) {
    const known = line.columns.get(column);
    if (known?.valid >= this.length && known.values.length === this.length) return known.values;
    const values = known?.values.length === this.length ? known.values : new Float64Array(this.length);
    const valid = Math.min(known?.valid ?? 0, this.length);
    if (known && values !== known.values) values.set(known.values.subarray(0, valid));
    const nothing = this.isAdditive(column) ? 0 : NaN;
    for (let at = valid; at < this.length; at += 1) {
      const row = line.rows[at];
      const cell = row?.[column];
      values[at] = row ? (cell === null || cell === undefined ? NaN : Number(cell)) : nothing;
    }
    line.columns.set(column, { values, valid: this.length });
    return values;
  }

  /** Return the first window that may change; `length` where none may. */
  get openFrom() {
    let least = this.length;
    for (const { rows } of this.lines) {
      for (let at = 0; at < Math.min(rows.length, least); at += 1) if (rows[at]?.may_change) least = at;
    }
    return least;
  }
}

/** Add the windows between *starts* that had no events at all, where all windows are of one length. */
function fillGaps(starts, ends) {
  if (starts.length < 2) return;
  const size = ends.get(starts[0]) - starts[0];
  const count = (starts.at(-1) - starts[0]) / size + 1;
  const isEven = starts.every((start) => ends.get(start) - start === size && (start - starts[0]) % size === 0);
  if (!isEven || count > MOST_WINDOWS || count === starts.length) return;
  const first = starts[0];
  starts.length = 0;
  for (let at = 0; at < count; at += 1) {
    starts.push(first + at * size);
    ends.set(first + at * size, first + (at + 1) * size);
  }
}
