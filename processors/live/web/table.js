// The numbers of the charts as a table: the newest window first, every digit.

import { h } from "./dom.js";
import { cellText } from "./exact.js";
import { windowText, zoneText } from "./times.js";
import { visible } from "./visible.js";

const PAGE = 100; // rows that are shown at once

/** The table of a grid. */
export class Table {
  #shown = PAGE;
  #told = "";

  constructor() {
    this.caption = h("caption");
    this.head = h("thead");
    this.body = h("tbody");
    this.more = h("button", { type: "button", class: "more", onclick: () => this.#showMore() });
    const table = h("table", { class: "numbers" }, this.caption, this.head, this.body);
    this.scroll = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The numbers as a table" }, table);
    this.element = h("div", {}, this.scroll, this.more);
  }

  /** Show *grid*'s rows of *columns*; *fresh* begins with the first hundred again. */
  show(grid, { columns, utc, compare, hidden, fresh = false }) {
    if (fresh) this.#shown = PAGE;
    Object.assign(this, { grid, columns, utc, compare, hidden });
    this.#draw();
  }

  #showMore() {
    const first = this.body.rows.length;
    this.#shown += PAGE;
    this.#draw();
    this.scroll.focus();
    this.body.rows[first]?.scrollIntoView({ block: "nearest" });
  }

  #draw() {
    const { grid, columns, utc, compare } = this;
    const lines = grid.lines.filter((line) => !this.hidden.has(line.id));
    const found = [];
    let count = 0;
    for (let at = grid.length - 1; at >= 0; at -= 1) {
      for (const line of lines) {
        if (!line.rows[at]) continue;
        count += 1;
        if (found.length < this.#shown) found.push({ at, line, row: line.rows[at] });
      }
    }
    const names = columns.flatMap((each) => (compare ? [each, `${each}.before`, `${each}.change_percent`] : [each]));
    const heads = [`window (${zoneText(utc)})`, ...grid.fields.map(visible), ...names.map(headText), "state"];
    const rows = found.map(({ at, line, row }) => [
      windowText(grid.starts[at], grid.ends[at], utc),
      ...line.key.map(visible),
      ...names.map((name) => cellText(row[name])),
      [row.may_change && "may change", row.partial && "partial"].filter(Boolean).join(", ") || "complete",
    ]);
    this.caption.textContent = `${count.toLocaleString("en")} rows, the newest first`;
    this.more.hidden = found.length >= count;
    this.more.textContent = `Show ${Math.min(PAGE, count - found.length)} more of ${(count - found.length).toLocaleString("en")}`;
    this.#write(heads, rows, 1 + grid.fields.length, names.length);
  }

  /** Write what changed, cell by cell: what is selected, or read out, stays. */
  #write(heads, rows, keys, numbers) {
    const kind = (at) => (at >= keys && at < keys + numbers ? "number" : null);
    const told = JSON.stringify(heads);
    if (this.#told !== told) {
      this.#told = told;
      this.head.replaceChildren(h("tr", {}, ...heads.map((text, at) => h("th", { scope: "col", class: kind(at) }, text))));
      this.body.replaceChildren();
    }
    while (this.body.rows.length > rows.length) this.body.deleteRow(-1);
    rows.forEach((texts, index) => {
      let row = this.body.rows[index];
      if (!row) {
        row = h("tr", {}, ...texts.map((_, at) => (at === 0 ? h("th", { scope: "row" }) : h("td", { class: kind(at) }))));
        this.body.append(row);
      }
      texts.forEach((text, at) => {
        const cell = row.cells[at];
        if (cell.textContent !== text) cell.textContent = text;
      });
      row.className = texts.at(-1) === "complete" ? "" : "open";
    });
  }
}

function headText(name) {
  return visible(name.replace(/\.before$/, ", before").replace(/\.change_percent$/, ", change %"));
}
