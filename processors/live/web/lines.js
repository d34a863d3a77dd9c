// The legend: a button a line, that shows or hides it, and what the strokes mean.

import { h, say } from "./dom.js";
import { briefText } from "./exact.js";
import { keyText } from "./visible.js";

/** The legend of a grid's lines; `onToggle(id)` and `onMean(id | null)` hear what a person wants. */
export class Legend {
  constructor({ onToggle, onMean }) {
    this.onToggle = onToggle;
    this.onMean = onMean;
    this.list = h("ul", { class: "legend", "aria-label": "Lines: press one to hide or show it" });
    this.signs = h("p", { class: "signs" });
    this.element = h("div", {}, this.list, this.signs);
    this.buttons = new Map();
  }

  /** Show the lines of *grid*, with their last value of *column*. */
  show(grid, { hidden, column, theme, compare }) {
    const ids = grid.lines.map((line) => line.id);
    if ([...this.buttons.keys()].join("\n") !== ids.join("\n")) this.#build(grid);
    grid.lines.forEach((line, at) => {
      const { button, swatch, value } = this.buttons.get(line.id);
      swatch.style.background = theme.line(at);
      button.setAttribute("aria-pressed", String(!hidden.has(line.id)));
      const row = line.rows.at(-1);
      say(value, row ? briefText(row[column]) : "");
    });
    const isOpen = grid.openFrom < grid.length;
    const isPartial = grid.lines.some(({ rows }) => rows.some((row) => row?.partial));
    const signs = [
      isOpen && h("span", { class: "sign open" }, "hatched, dashed: may still change"),
      isPartial && h("span", { class: "sign partial" }, "hollow: a part is not counted, or not kept any more"),
      compare && h("span", { class: "sign faint" }, "faint: before"),
      grid.left > 0 && h("span", {}, `${grid.left.toLocaleString("en")} more keys are not drawn`),
    ].filter(Boolean);
    this.signs.replaceChildren(...signs);
  }

  #build(grid) {
    this.buttons.clear();
    const items = grid.lines.map((line) => {
      const swatch = h("i", { class: "swatch" });
      const value = h("span", { class: "value", "aria-hidden": "true" });
      const button = h(
        "button",
        {
          type: "button", "aria-pressed": "true", onclick: () => this.onToggle(line.id),
          onpointerenter: () => this.onMean(line.id), onpointerleave: () => this.onMean(null),
          onfocus: () => this.onMean(line.id), onblur: () => this.onMean(null),
        },
        swatch, h("span", {}, keyText(line.key)), value,
      );
      this.buttons.set(line.id, { button, swatch, value });
      return h("li", {}, button);
    });
    this.list.replaceChildren(...items);
  }
}
