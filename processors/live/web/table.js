// The numbers of the charts as a table: every digit, the newest window first, or by a column.

import { h } from "./dom.js";
import { cellText, compareExact } from "./exact.js";
import { windowText, zoneText } from "./times.js";
import { visible } from "./visible.js";

const PAGE = 100; // rows that are shown at once

/** The table of a grid. */
export class Table {
  #shown = PAGE;
  #told = "";
  #sorts = []; // of each column of the table, by what it sorts; null: it does not

  /** `onSort({sort, up})` hears by which column a person wants it: "" by window. */
  constructor({ onSort }) {
    this.onSort = onSort;
    this.caption = h("caption");
    this.head = h("thead", { onclick: ({ target }) => this.#order(target.closest("th")) });
    this.body = h("tbody");
    this.more = h("button", { type: "button", class: "more", hidden: true, onclick: () => this.#showMore() });
    const table = h("table", { class: "numbers" }, this.caption, this.head, this.body);
    this.scroll = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The numbers as a table" }, table);
    this.element = h("div", {}, this.scroll, this.more);
  }

  /** Show *grid*'s rows of *columns*; *fresh* begins with the first hundred again. */
  show(grid, { columns, utc, compare, hidden, sort, up, fresh = false }) {
    if (fresh) this.#shown = PAGE;
    Object.assign(this, { grid, columns, utc, compare, hidden, sort, up });
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
    const { grid, columns, utc, compare, up } = this;
    const names = columns.flatMap((each) => (compare && each !== grid.computed ? [each, `${each}.before`, `${each}.change_percent`] : [each]));
    const sort = names.includes(this.sort) ? this.sort : "";
    const { found, count } = this.#first(sort);
    const heads = [`window (${zoneText(utc)})`, ...grid.fields.map(visible), ...names.map(headText), "state"];
    const rows = found.map(({ at, line, row }) => [
      windowText(grid.starts[at], grid.ends[at], utc),
      ...line.key.map(visible),
      ...names.map((name) => cellText(row[name])),
      [row.may_change && "may change", row.partial && "partial"].filter(Boolean).join(", ") || "complete",
    ]);
    const order = sort ? `by ${headText(sort)}, the ${up ? "least" : "greatest"} first` : `the ${up ? "oldest" : "newest"} first`;
    this.caption.textContent = `${count.toLocaleString("en")} rows, ${order}`;
    this.more.hidden = found.length >= count;
    this.more.textContent = `Show ${Math.min(PAGE, count - found.length)} more of ${(count - found.length).toLocaleString("en")}`;
    this.#write(heads, rows, 1 + grid.fields.length, names.length);
    this.#sorts = ["", ...grid.fields.map(() => null), ...names];
    [...this.head.rows[0].cells].forEach((cell, at) => (cell.ariaSort = this.#sorts[at] === sort ? (up ? "ascending" : "descending") : null));
  }

  /** Have the greatest first, and where they are, the least. */
  #order({ cellIndex, ariaSort }) {
    const sort = this.#sorts[cellIndex] ?? null;
    if (sort !== null) this.onSort({ sort, up: ariaSort === "descending" });
  }

  /** Return the rows that stand first by *sort*, and how many there are: of equal ones the newest, and no number comes last. */
  #first(sort) {
    const { grid } = this;
    const lines = grid.lines.filter((line) => !this.hidden.has(line.id));
    const way = this.up ? 1 : -1;
    const order = (a, b) => way * compareExact(a.value, b.value);
    const valueOf = (cell) => (Number.isNaN(Number(cell ?? NaN)) ? way * Infinity : cell);
    let [found, worst, count] = [[], null, 0];
    const cut = () => (found = found.sort(order).slice(0, this.#shown));
    for (let at = grid.length - 1; at >= 0; at -= 1) {
      for (const line of lines) {
        const row = line.rows[at];
        if (!row) continue;
        count += 1;
        const each = { at, line, row, value: sort ? valueOf(row[sort]) : at };
        if (worst && order(worst, each) <= 0) continue;
        if (found.push(each) >= 2 * this.#shown) worst = cut().at(-1); // never all of many
      }
    }
    return { found: cut(), count };
  }

  /** Write what changed, cell by cell: what is selected, or read out, stays. */
  #write(heads, rows, keys, numbers) {
    const kind = (at) => (at >= keys && at < keys + numbers ? "number" : null);
    const told = JSON.stringify(heads);
    if (this.#told !== told) {
      this.#told = told;
      this.head.replaceChildren(h("tr", {}, ...heads.map((text, at) => h("th", { scope: "col", class: kind(at) }, at === 0 || kind(at) ? h("button", { type: "button" }, text) : text))));
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
