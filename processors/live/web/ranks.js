// Short lists: the first keys by a measure, and those that were not heard of.

import { h, say } from "./dom.js";
import { cellText } from "./exact.js";
import { instantMs, instantText, spanText, zoneText } from "./times.js";
import { keyText, visible } from "./visible.js";

/** A list under a title; a row is a button that leads to its key. */
class List {
  constructor({ onKey }) {
    this.onKey = onKey;
    this.title = h("h2");
    this.rows = h("ol", { class: "rank" });
    this.note = h("p", { class: "note" });
    this.element = h("section", { class: "card" }, this.title, this.rows, this.note);
    this.told = "";
  }

  /** Show rows of {key, fields, value, share, hint}; the same rows again change nothing, so that focus stays. */
  write(rows) {
    const told = JSON.stringify(rows.map(({ key }) => key));
    if (told !== this.told) {
      this.told = told;
      this.rows.replaceChildren(...rows.map(({ key, fields }) => this.#row(key, fields)));
    }
    rows.forEach(({ value, share, hint }, at) => {
      const item = this.rows.children[at];
      say(item.querySelector(".value"), value);
      item.querySelector(".bar").style.width = `${Math.max(share * 100, 0.5)}%`;
      item.title = hint;
    });
  }

  refuse(error) {
    this.write([]);
    say(this.note, error.problems.map(visible).join("; "));
  }

  #row(key, fields) {
    const name = h("span", { class: "name" }, keyText(key));
    const inside = [name, h("span", { class: "value" }), h("i", { class: "bar", "aria-hidden": "true" })];
    const isKey = fields.length > 0;
    return h("li", {}, isKey ? h("button", { type: "button", onclick: () => this.onKey(fields, key) }, ...inside) : h("div", {}, ...inside));
  }
}

/** The first keys by *by*. */
export class TopList extends List {
  show(body, { by, fields }) {
    const rows = body.rows.map((row) => ({ key: fields.map((field) => String(row[field] ?? "")), value: row[by] }));
    const most = Math.max(...rows.map(({ value }) => Math.abs(Number(value ?? 0))), 0);
    this.write(
      rows.map(({ key, value }) => ({
        key, fields, value: value === null ? "–" : cellText(value), share: most ? Math.abs(Number(value ?? 0)) / most : 0, hint: "",
      })),
    );
    say(this.note, rows.length ? "" : "No events in this range.");
  }
}

/** The keys that were silent the longest. */
export class SilentList extends List {
  constructor({ onKey, onAge, ages }) {
    super({ onKey });
    this.select = h("select", { "aria-label": "Silent for at least", onchange: () => onAge(this.select.value) }, ...ages.map((age) => h("option", { value: age }, age)));
    this.title.append("Silent for ", this.select);
  }

  /** *byMs*: by when, where that is not now. */
  show(body, { fields, age, utc, byMs }) {
    if (this.select.value !== age) this.select.value = age;
    const { rows } = body;
    const most = Number(rows[0]?.silent_s ?? 0);
    this.write(
      rows.map((row) => ({
        key: fields.map((field) => String(row[field] ?? "")), fields, value: spanText(Number(row.silent_s) * 1000), share: Number(row.silent_s) / (most || 1),
        hint: `last heard of ${row.is_exact ? "at" : "before"} ${instantText(instantMs(row.last_seen), utc)} ${zoneText(utc)}`,
      })),
    );
    const left = Number(body.left ?? 0);
    const more = left > 0 ? `and ${left.toLocaleString("en")} more` : rows.length ? "" : "None: all were heard of since.";
    say(this.note, [more, byMs !== null && `by ${instantText(byMs, utc)} ${zoneText(utc)}`].filter(Boolean).join(" · "));
  }
}
