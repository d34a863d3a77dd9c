// Lines on a canvas: axes, what may still change, bands, what was before, lines.

import { tickText } from "./exact.js";
import { niceTicks, thinned } from "./scales.js";
import { timeTicks } from "./times.js";

const BOTTOM = 24;
const TOP = 10;
const RIGHT = 10;
const MOST_DOTS = 300; // up to which each number has its dot
const DASH = [4, 3];

/**
 * Return where things are: `x[n]` the middle of the n-th window, `edge(n)` its left, `y(value)`; ticks; the box of the plot.
 * *range* is [least, greatest] of what is drawn, *baseline* whether 0 belongs to it.
 */
export function frameOf({ starts, ends, width, height, range, baseline, utc, measure }) {
  const [least, greatest] = range ?? [0, 1];
  const low = baseline ? Math.min(0, least) : least;
  const high = baseline ? Math.max(0, greatest) : greatest;
  const { ticks, step } = niceTicks(low, high, Math.max(2, Math.round(height / 48)));
  const texts = ticks.map((each) => tickText(each, step));
  const left = Math.ceil(Math.max(...texts.map(measure), 20)) + 14;
  const [right, top, bottom] = [width - RIGHT, TOP, height - BOTTOM];
  const [firstMs, lastMs] = [starts[0] ?? 0, ends.at(-1) ?? 1];
  const perMs = (right - left) / Math.max(lastMs - firstMs, 1);
  const xAt = (ms) => left + (ms - firstMs) * perMs;
  const [floor, ceiling] = [ticks[0], ticks.at(-1)];
  const perUnit = (bottom - top) / (ceiling - floor || 1);
  const x = new Float64Array(starts.length);
  for (let at = 0; at < x.length; at += 1) x[at] = xAt((starts[at] + ends[at]) / 2);
  return {
    width, height, left, right, top, bottom, x, xAt,
    edge: (at) => (at < starts.length ? xAt(starts[at]) : right),
    y: (value) => bottom - (value - floor) * perUnit,
    yTicks: ticks.map((each, at) => ({ at: each, text: texts[at] })),
    xTicks: timeTicks(firstMs, lastMs, Math.max(2, Math.floor((right - left) / 76)), utc),
    /** What is the same as long as nothing moves but the lines. */
    same: JSON.stringify([width, height, firstMs, lastMs, starts.length, ticks, utc]),
  };
}

/**
 * Draw *lines* ({values, before, error, colour, partial}) into *frame*, from the window *from* on. Windows from *openFrom* on may change: hatched,
 * and dashed.
 */
export function paint(context, frame, lines, { openFrom, theme, from = 0 }) {
  const cut = from > 1 ? frame.x[from - 1] : 0;
  context.save();
  context.beginPath();
  context.rect(cut, 0, frame.width - cut, frame.height);
  context.clip();
  context.clearRect(cut, 0, frame.width - cut, frame.height);
  paintAxes(context, frame, theme);
  if (openFrom < frame.x.length) hatch(context, frame, frame.edge(openFrom), theme);
  const first = Math.max(from - 2, 0);
  for (const line of lines) if (line.error) band(context, frame, line, first);
  context.lineJoin = "bevel";
  for (const line of lines) {
    if (line.before) stroke(context, frame, line.before, first, frame.x.length - 1, { colour: line.colour, width: 1, alpha: 0.45 });
  }
  const isDense = lines.length > 12;
  for (const line of lines) {
    const style = { colour: line.colour, width: isDense ? 1 : 1.75, alpha: 1 };
    if (lines.length === 1) area(context, frame, line);
    stroke(context, frame, line.values, first, Math.min(openFrom, frame.x.length) - 1, style);
    if (openFrom < frame.x.length) {
      stroke(context, frame, line.values, Math.max(openFrom - 1, 0), frame.x.length - 1, { ...style, dash: DASH });
    }
    dots(context, frame, line, first, theme, frame.x.length * lines.length <= MOST_DOTS);
  }
  context.restore();
}

function paintAxes(context, frame, theme) {
  context.font = theme.font;
  context.fillStyle = theme.muted;
  context.strokeStyle = theme.rule;
  context.lineWidth = 1;
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.beginPath();
  for (const { at, text } of frame.yTicks) {
    const y = Math.round(frame.y(at)) + 0.5;
    context.moveTo(frame.left, y);
    context.lineTo(frame.right, y);
    context.fillText(text, frame.left - 8, y);
  }
  context.textAlign = "center";
  context.textBaseline = "alphabetic";
  for (const { at, text, isDay } of frame.xTicks) {
    const x = Math.round(frame.xAt(at)) + 0.5;
    context.moveTo(x, frame.bottom);
    context.lineTo(x, frame.bottom + 4);
    context.fillStyle = isDay ? theme.text : theme.muted;
    const half = context.measureText(text).width / 2;
    context.fillText(text, Math.min(Math.max(x, half), frame.width - half), frame.bottom + 17);
  }
  context.stroke();
}

function hatch(context, frame, left, theme) {
  context.save();
  context.beginPath();
  context.rect(left, frame.top, frame.right - left, frame.bottom - frame.top);
  context.clip();
  context.strokeStyle = theme.hatch;
  context.lineWidth = 1;
  context.beginPath();
  const height = frame.bottom - frame.top;
  // On one raster, whatever is redrawn.
  for (let x = Math.floor((left - height) / 8) * 8; x < frame.right; x += 8) {
    context.moveTo(x, frame.bottom);
    context.lineTo(x + height, frame.top);
  }
  context.stroke();
  context.restore();
}

function trace(context, frame, values, first, last) {
  let isDown = false;
  context.beginPath();
  for (const at of thinned(values, first, last, (each) => frame.x[each])) {
    const value = values[at];
    if (Number.isNaN(value)) isDown = false;
    else if (isDown) context.lineTo(frame.x[at], frame.y(value));
    else {
      context.moveTo(frame.x[at], frame.y(value));
      isDown = true;
    }
  }
}

function stroke(context, frame, values, first, last, { colour, width, alpha, dash = [] }) {
  if (last < first) return;
  context.setLineDash(dash);
  context.globalAlpha = alpha;
  context.strokeStyle = colour;
  context.lineWidth = width;
  trace(context, frame, values, first, last);
  context.stroke();
  context.setLineDash([]);
  context.globalAlpha = 1;
}

/** Fill between the line's least and greatest true values: *error* is the relative bound. */
function band(context, frame, { values, error, colour }, first) {
  context.fillStyle = colour;
  context.globalAlpha = 0.18;
  for (let at = first; at < values.length; at += 1) {
    let end = at;
    while (end < values.length && !Number.isNaN(values[end])) end += 1;
    if (end > at) {
      context.beginPath();
      for (let each = at; each < end; each += 1) context.lineTo(frame.x[each], frame.y(values[each] * (1 + error)));
      for (let each = end - 1; each >= at; each -= 1) context.lineTo(frame.x[each], frame.y(values[each] * (1 - error)));
      context.fill();
    }
    at = end;
  }
  context.globalAlpha = 1;
}

function area(context, frame, { values, colour }) {
  const fill = context.createLinearGradient(0, frame.top, 0, frame.bottom);
  fill.addColorStop(0, colour);
  fill.addColorStop(1, "transparent");
  context.fillStyle = fill;
  context.globalAlpha = 0.16;
  for (let at = 0; at < values.length; at += 1) {
    let end = at;
    while (end < values.length && !Number.isNaN(values[end])) end += 1;
    if (end - at > 1) {
      context.beginPath();
      context.moveTo(frame.x[at], frame.bottom);
      for (let each = at; each < end; each += 1) context.lineTo(frame.x[each], frame.y(values[each]));
      context.lineTo(frame.x[end - 1], frame.bottom);
      context.fill();
    }
    at = end;
  }
  context.globalAlpha = 1;
}

/** A dot a window, where *all* have one; hollow ones where a part is not counted, or not kept any more. */
function dots(context, frame, { values, colour, partial }, first, theme, all) {
  context.lineWidth = 1.5;
  context.strokeStyle = colour;
  for (let at = first; at < values.length; at += 1) {
    const isHollow = partial(at);
    if (Number.isNaN(values[at]) || !(all || isHollow)) continue;
    context.beginPath();
    context.arc(frame.x[at], frame.y(values[at]), 2.25, 0, 2 * Math.PI);
    context.fillStyle = isHollow ? theme.surface : colour;
    context.fill();
    context.stroke();
  }
}

/** Draw the cursor's overlay: a hair line at the window *at*, the *line* that is meant in bold, what is being selected. */
export function paintCursor(context, frame, { at, line, selected, theme }) {
  context.clearRect(0, 0, frame.width, frame.height);
  if (selected) {
    const [from, to] = [...selected].sort((a, b) => a - b);
    context.globalAlpha = 0.15;
    context.fillStyle = theme.accent;
    context.fillRect(from, frame.top, to - from, frame.bottom - frame.top);
    context.globalAlpha = 1;
  }
  context.lineJoin = "bevel";
  if (line) stroke(context, frame, line.values, 0, frame.x.length - 1, { colour: line.colour, width: 3, alpha: 1 });
  if (at === null || at >= frame.x.length) return;
  const x = Math.round(frame.x[at]) + 0.5;
  context.strokeStyle = theme.muted;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x, frame.top);
  context.lineTo(x, frame.bottom);
  context.stroke();
  if (line && !Number.isNaN(line.values[at])) {
    context.beginPath();
    context.arc(frame.x[at], frame.y(line.values[at]), 4.5, 0, 2 * Math.PI);
    context.fillStyle = line.colour;
    context.fill();
    context.strokeStyle = theme.surface;
    context.lineWidth = 2;
    context.stroke();
  }
}
