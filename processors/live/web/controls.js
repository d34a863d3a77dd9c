// The form: what is looked at, and how. Each change is a new view at once.

import { calmed, h, say } from "./dom.js";
import { COARSER } from "./questions.js";
import { durationMs, fieldMs, fieldText, zoneText } from "./times.js";
import { COMPARES, MOST_MEASURES, RANGES, TOPS, computedOf, numbersOf } from "./view.js";
import { visible } from "./visible.js";

const CALM_MS = 250;
const OF_FIELD = /^(where|select)\b/;

/** The controls of *rollups*. `onView(changes)` hears what a person chose; `suggest(field, text)` gives values of a field. */
export class Controls {
  constructor({ rollups, onView, suggest }) {
    Object.assign(this, { rollups, onView, suggest });
    this.element = h("form", { "aria-label": "What is shown", onsubmit: (event) => event.preventDefault() });
  }

  /** Show *view*; *window* is what its range chose. */
  show(view, window) {
    const rollup = this.rollups.find((each) => each.name === view.rollup);
    const focused = document.activeElement?.id;
    const sum = rollup.columns.find(({ name }) => name.endsWith(".sum"));
    const change = (name) => (event) => this.onView({ [name]: event.target.value });
    this.element.replaceChildren(
      select("rollup", "Rollup", this.rollups.map(({ name }) => [name, visible(name)]), view.rollup, (event) =>
        this.onView({ rollup: event.target.value, window: "", keys: {}, lines: null, measures: ["events"], where: "", select: "" }),
      ),
      select("range", "Range", [...Object.entries(RANGES), ["custom", "from … to"]], view.range, change("range")),
      ...(view.range === "custom" ? this.#bounds(view) : []),
      select("window", "Window", windows(rollup, view, window), view.window, change("window")),
      select("compare", "Compare with", Object.entries(COMPARES), view.compare, change("compare")),
      select("top", "Lines", TOPS.map((n) => [String(n), `top ${n}`]), String(view.top), (event) =>
        this.onView({ top: Number(event.target.value) }),
      ),
      ...rollup.key.map((field) => this.#pattern(view, field)),
      expression("where", "Lines where", "events > 100", view.where, (where) => this.onView({ where })),
      expression("select", "One more column", `each = ${sum?.name ?? "1"} / events`, view.select, (select) =>
        this.onView({ select, measures: withComputed(view, select) }),
      ),
      this.#measures(view, rollup),
      this.#lines(view, rollup),
    );
    if (focused) document.getElementById(focused)?.focus();
  }

  /** Tell *problems* of expressions beneath their fields; what was told before is gone. Returns the others. */
  tell(problems) {
    for (const name of ["where", "select"]) {
      const input = this.element.elements[`c-${name}`];
      const found = problems.find((each) => OF_FIELD.exec(each)?.[1] === name);
      input?.setAttribute("aria-invalid", String(Boolean(found)));
      if (input) say(input.nextSibling, visible(found ?? ""));
    }
    return problems.filter((each) => !OF_FIELD.test(each));
  }

  #bounds(view) {
    return ["from", "to"].map((name) => {
      const id = `c-${name}`;
      const input = h("input", {
        id, type: "datetime-local", step: "1",
        value: view[`${name}Ms`] === null ? "" : fieldText(view[`${name}Ms`], view.utc),
        onchange: () => {
          const ms = input.value === "" ? null : fieldMs(input.value, view.utc);
          this.onView({ [`${name}Ms`]: Number.isNaN(ms) ? null : ms });
        },
      });
      return labelled(id, `${name === "from" ? "From" : "To"} (${zoneText(view.utc)})`, input);
    });
  }

  /** A field of the key: a pattern, with values that are there. */
  #pattern(view, field) {
    const id = `c-key-${field}`;
    const list = h("datalist", { id: `${id}-list` });
    const offer = async () => {
      const values = await this.suggest(field, input.value);
      // A field holds one line: what is not seen in it stands as the pattern of any character.
      list.replaceChildren(...values.map((value) => h("option", { value: value.replace(/[\p{C}]/gu, "?") })));
    };
    const input = h("input", {
      id, type: "text", list: `${id}-list`, placeholder: "all, or a pattern: a*", autocomplete: "off", spellcheck: "false", maxlength: "1000",
      value: view.keys[field] ?? "", onfocus: offer, oninput: calmed(offer, CALM_MS),
      onchange: () => this.onView({ keys: { ...view.keys, [field]: input.value } }),
    });
    return labelled(id, visible(field), h("span", {}, input, list));
  }

  #measures(view, rollup) {
    const numbers = numbersOf(view, rollup);
    const boxes = numbers.map((name) => {
      const error = rollup.columns.find((each) => each.name === name)?.error;
      const isOn = view.measures.includes(name);
      const others = view.measures.filter((each) => each !== name);
      return check(`c-measure-${name}`, visible(name), isOn, {
        disabled: (isOn && others.length === 0) || (!isOn && view.measures.length >= MOST_MEASURES),
        title: error ? visible(error) : null,
        onchange: () => this.onView({ measures: isOn ? others : numbers.filter((each) => each === name || others.includes(each)) }),
      });
    });
    return h("fieldset", {}, h("legend", {}, "Measures"), ...boxes);
  }

  #lines(view, rollup) {
    const lines = view.lines ?? rollup.key;
    const boxes = rollup.key.map((field) => {
      const isOn = lines.includes(field);
      return check(`c-line-${field}`, visible(field), isOn, {
        onchange: () => this.onView({ lines: rollup.key.filter((each) => (each === field ? !isOn : lines.includes(each))) }),
      });
    });
    return h("fieldset", {}, h("legend", {}, "A line for each"), ...boxes, lines.length ? "" : h("span", { class: "note" }, "all together"));
  }
}

/** Return the view's measures with what *select* computes, instead of what was computed before. */
function withComputed(view, select) {
  const [before, next] = [computedOf(view)?.name, computedOf({ select })?.name];
  const others = view.measures.filter((each) => each !== before && each !== next);
  return next ? [...others.slice(0, MOST_MEASURES - 1), next] : others;
}

function expression(name, text, example, value, onText) {
  const id = `c-${name}`;
  const input = h("input", {
    id, type: "text", class: "wide", placeholder: example, autocomplete: "off", autocapitalize: "off", spellcheck: "false", maxlength: "2000",
    value, "aria-describedby": `${id}-wrong`, onchange: () => onText(input.value.trim()),
  });
  return labelled(id, text, h("span", {}, input, h("span", { id: `${id}-wrong`, class: "wrong", role: "alert" })));
}

function labelled(id, text, control) {
  return h("div", { class: "field" }, h("label", { for: id }, text), control);
}

function select(name, text, options, value, onchange) {
  const id = `c-${name}`;
  const all = options.some(([each]) => each === value) ? options : [...options, [value, visible(value)]];
  const element = h("select", { id, onchange }, ...all.map(([each, shown]) => h("option", { value: each }, shown)));
  element.value = value;
  return labelled(id, text, element);
}

function check(id, text, isOn, props) {
  const input = h("input", { id, type: "checkbox", ...props });
  input.checked = isOn;
  return h("label", { class: "check", title: props.title ?? null }, input, text);
}

function windows(rollup, view, window) {
  const least = Math.min(...rollup.windows.map((each) => durationMs(each) ?? Infinity));
  const merged = COARSER.filter((each) => !rollup.windows.includes(each) && ((durationMs(each) ?? Infinity) > least));
  return [["", view.window ? "chosen by range" : `${window}, by range`], ...rollup.windows.concat(merged).map((each) => [each, visible(each)])];
}
