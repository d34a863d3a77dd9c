// The page: its parts, and what happens when.

import { Chart } from "./chart.js";
import { Controls } from "./controls.js";
import { h, say, themeOf } from "./dom.js";
import { ANY, Feed, Gone, Refused } from "./feed.js";
import { Lens } from "./lens.js";
import { Legend } from "./lines.js";
import { asked, changed, fieldsOf, silentBy, silentQuestion, spanMs, topQuestion, windowOf } from "./questions.js";
import { SilentList, TopList } from "./ranks.js";
import { SignIn, SignedOut } from "./signin.js";
import { Table } from "./table.js";
import { FreshTile, QuarantineTile, RateTile } from "./tiles.js";
import { zoneText } from "./times.js";
import { SILENCES, fitted, fromHash, toHash } from "./view.js";
import { keyText, literalPattern, visible } from "./visible.js";

const RATES_MS = 4_000;
const STATUS_MS = 10_000; // of how far behind answers are, where nothing changes
const TOP_MS = 4_000;
const SILENT_MS = 15_000;
const MOST_RATES = 6;
const OF_TABLE = new Set(["sort", "up"]); // of a view: what changes nothing else
const SUGGESTED = 50;

const $ = (id) => document.getElementById(id);
const access = new SignIn({ onState: showAccess });
const feed = new Feed({ access, onHealth: showHealth });
const table = new Table({ onSort: change });
const legend = new Legend({ onToggle: toggle, onMean: (id) => charts.forEach((chart) => (chart.meant = id)) });
const tiles = { fresh: new FreshTile(), quarantine: new QuarantineTile(), rates: [] };
const tops = [new TopList({ onKey: narrow }), new TopList({ onKey: narrow })];
const silent = new SilentList({ onKey: narrow, onAge: (age) => change({ silent: age }), ages: SILENCES });

let rollups = [];
let view = fromHash(location.hash);
let controls = null;
let lens = null;
let grid = null;
let charts = [];
let hidden = new Set();
let watches = [];
let aheadMs = 0; // of this clock, the server's
let wasGone = false;
let isOut = false; // nobody is signed in, who has to be
let status = {};

const nowMs = () => Date.now() + aheadMs;
const rollup = () => rollups.find((each) => each.name === view.rollup);
const path = (name, what) => `rollups/${encodeURIComponent(name)}/${what}`;

function showHealth({ state, retryMs, reason }) {
  const isGone = state === "gone";
  const isUp = state === "live" || state === "polling";
  document.body.dataset.health = isUp ? "live" : state;
  say($("health"), isOut && isUp ? "signed out" : state);
  $("gone").hidden = !isGone;
  if (isGone) say($("gone"), `The stack does not answer (${visible(reason)}). These are its last numbers; it is asked again in ${retryMs / 1000} s.`);
  if (isGone && !wasGone) announce("The stack does not answer.");
  if (wasGone && (state === "live" || state === "polling")) {
    announce("The stack answers again.");
    begin();
  }
  wasGone = isGone || (wasGone && state === "paused");
}

/** Show who is signed in, or that nobody is: what is shown stays, and nothing more comes. */
function showAccess({ state, reason }) {
  isOut = state === "out";
  $("signin").hidden = !isOut;
  $("signout").hidden = isOut;
  say($("why"), isOut ? visible(reason) : "");
  document.body.classList.toggle("blank", isOut && controls === null);
  if (isOut) say($("health"), "signed out");
}

/** Tell a screen reader, once: what a person did has come about, or the stack is gone, or back. Never each number. */
function announce(text) {
  say($("said"), text);
}

/** Ask what there is, and show it. */
async function begin() {
  let found = null;
  while (!found) {
    try {
      found = await feed.ask("rollups");
    } catch (error) {
      if (error instanceof Gone) await feed.lost(error);
      else return refuse(error);
    }
  }
  aheadMs = Number(found.now_ms) - Date.now();
  const isNew = JSON.stringify(found.rollups) !== JSON.stringify(rollups);
  if (isNew) {
    rollups = found.rollups;
    say($("consumer"), found.consumer ? `consumer ${visible(found.consumer)}` : "");
    controls = new Controls({ rollups, onView: change, suggest });
    $("controls").replaceChildren(controls.element);
    overview();
  }
  if (!isNew && lens) return lens.soon();
  view = fitted(view, rollups);
  show();
}

/** Watch what does not depend on the view. */
function overview() {
  for (const watch of watches) watch.stop();
  tiles.rates = rollups.slice(0, MOST_RATES).map((each) => new RateTile(each)).filter((each) => each.sizeMs);
  $("tiles").replaceChildren(...tiles.rates.map((each) => each.element), tiles.fresh.element, tiles.quarantine.element);
  watches = tiles.rates.map((tile) => watchRate(tile));
  watches.push(
    feed.watch(() => ["status", []], {
      of: ANY,
      quietMs: STATUS_MS,
      every: true,
      onAnswer: (told) => {
        if (told) aheadMs = Number(told.now_ms) - Date.now();
        status = told ?? status;
        tiles.fresh.show(status, nowMs(), view.utc);
        tiles.quarantine.show(status);
      },
    }),
  );
}

function watchRate(tile) {
  let isFirst = true;
  const take = (body) => {
    tile.take(body, performance.now());
    tile.show(nowMs(), view.utc);
  };
  return feed.watch(() => tile.question(nowMs()), {
    of: tile.rollup.name,
    everyMs: RATES_MS,
    every: true,
    onQuiet: () => take(null),
    onAnswer: async (body) => {
      take(body);
      if (!isFirst || body === null) return;
      isFirst = false;
      const earlier = await feed.ask(...tile.question(nowMs(), true));
      tile.take(earlier, performance.now(), { history: true });
      tile.show(nowMs(), view.utc);
    },
  });
}

let lists = [];

/** Show the view: its form, its charts, its lists. */
function show() {
  for (const each of [lens, ...lists]) each?.stop();
  const of = rollup();
  if (!of) return say($("empty"), "This stack has no rollups.");
  const window = windowOf(view, of, nowMs());
  controls.show(view, window);
  refuse(null);
  $("local").checked = !view.utc;
  document.title = `${visible(view.rollup)} · streamgage`;
  say($("what"), visible(view.rollup));
  say($("which"), `windows of ${visible(window)}, ${zoneText(view.utc)}`);
  hidden = new Set();
  buildCharts();
  lens = new Lens({ feed, view, rollup: of, nowMs, onGrid: showGrid, onRefused: refuse, onBusy: busy });
  lens.start();
  watchLists(of);
}

function buildCharts() {
  for (const chart of charts) chart.close();
  charts = view.measures.map(
    (column) =>
      new Chart(column, {
        title: visible(column), help: "keys",
        onCursor: (at) => charts.forEach((each) => each.column !== column && (each.cursor = at)),
        onRange: (fromMs, toMs) => change({ range: "custom", fromMs, toMs }),
      }),
  );
  $("charts").replaceChildren(...charts.map((each) => each.element));
  $("charts").classList.toggle("many", charts.length > 1);
}

function watchLists(of) {
  const fields = fieldsOf(view, of);
  const numbers = of.columns.filter((each) => each.kind === "number").map((each) => each.name);
  const others = numbers.filter((name) => name !== "events");
  const second = others.find((name) => view.measures.includes(name)) ?? others.find((name) => name.endsWith(".sum")) ?? others[0];
  const by = ["events", second].filter((each) => fields.length > 0 && numbers.includes(each));
  tops.forEach((list, at) => {
    list.element.hidden = at >= by.length;
    say(list.title, `Top by ${by[at]}`);
  });
  lists = by.map((name, at) =>
    feed.watch(() => [path(of.name, "top"), topQuestion(view, of, nowMs(), name, view.top)], {
      everyMs: TOP_MS, of: of.name, onAnswer: (body) => tops[at].show(body, { by: name, fields }), onRefused: (error) => tops[at].refuse(error),
    }),
  );
  lists.push(
    feed.watch(() => [path(of.name, "silent"), silentQuestion(view, nowMs())], {
      everyMs: SILENT_MS, onRefused: (error) => silent.refuse(error),
      onAnswer: (body) => silent.show(body, { fields: of.key, age: view.silent, utc: view.utc, byMs: silentBy(view, nowMs()) }),
    }),
  );
}

function showGrid(next, { fresh }) {
  grid = next;
  const isEmpty = grid.length === 0;
  $("empty").hidden = !isEmpty;
  $("shown").hidden = isEmpty;
  if (isEmpty) {
    const all = h("button", { type: "button", onclick: () => change({ range: "all", window: "" }) }, "Show all there is");
    $("empty").replaceChildren(view.where ? "No line of this range passes the filter. " : "No events of this in this range. ", view.range === "all" ? "Send some: streamgage simulate --help" : all);
  }
  const compare = view.compare !== "";
  const told = new Map(rollup().columns.map(({ name, error }) => [name, error ?? ""]));
  for (const chart of charts) chart.show(grid, { hidden, utc: view.utc, compare, tells: visible(told.get(chart.column) ?? "") });
  legend.show(grid, { hidden, column: view.measures[0], theme: themeOf($("charts")), compare });
  table.show(grid, { columns: view.measures, utc: view.utc, compare, hidden, sort: view.sort, up: view.up, fresh });
}

function busy(is) {
  $("view").setAttribute("aria-busy", String(is));
  if (!is && grid) announce(`${visible(view.rollup)}: ${grid.lines.length} lines, ${grid.length} windows.`);
}

function refuse(error) {
  const told = error === null || error instanceof SignedOut ? null : error; // the banner above tells that
  const problems = told?.problems ?? [];
  const left = controls?.tell(problems) ?? problems;
  $("refused").hidden = left.length === 0;
  say($("refused"), left.map(visible).join("; "));
}

/** Look at something else. */
function change(changes) {
  if (changes.range === "custom" && !("fromMs" in changes) && view.fromMs === null) {
    const span = spanMs(view, nowMs()); // begin with what is seen
    changes = { ...changes, fromMs: span === null ? null : Math.floor((nowMs() - span) / 60_000) * 60_000 };
  }
  view = fitted({ ...view, ...changes }, rollups);
  history.pushState(null, "", `#${toHash(view)}`);
  if (Object.keys(changes).every((each) => OF_TABLE.has(each))) showGrid(grid, { fresh: true });
  else show();
}

function toggle(id) {
  if (!hidden.delete(id)) hidden.add(id);
  grid.changedFrom = 0;
  showGrid(grid, { fresh: false });
}

/** Look at one key. */
function narrow(fields, key) {
  change({ keys: { ...view.keys, ...Object.fromEntries(fields.map((field, at) => [field, literalPattern(key[at])])) } });
  announce(`Only ${keyText(key)}.`);
}

async function suggest(field, typed) {
  const of = rollup();
  const others = asked({ ...view, keys: { ...view.keys, [field]: "" }, lines: null }, of, nowMs());
  const pattern = typed && !/[*?]/.test(typed) ? { [`key.${field}`]: `*${typed}*` } : {};
  try {
    const { keys } = await feed.ask(path(of.name, "keys"), changed(others, { ...pattern, limit: 10 * SUGGESTED }));
    return [...new Set(keys.map((key) => String(key[field] ?? "")))].filter(Boolean).slice(0, SUGGESTED);
  } catch (error) {
    if (error instanceof Gone || error instanceof Refused) return []; // the watches tell
    throw error;
  }
}

async function download() {
  try {
    const blob = await feed.file(path(view.rollup, "range"), lens.question, "text/csv");
    const url = URL.createObjectURL(blob);
    const name = `${view.rollup}-${windowOf(view, rollup(), nowMs())}.csv`.replace(/[^\w.@-]+/g, "_");
    h("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    announce("The file is there.");
  } catch (error) {
    if (error instanceof Gone) feed.lost(error);
    else if (error instanceof Refused) refuse(error);
    else throw error;
  }
}

async function share() {
  history.replaceState(null, "", `#${toHash(view)}`);
  const isCopied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
  announce(isCopied ? "The link is copied." : "The link is in the address bar.");
  say($("share"), isCopied ? "Copied" : "See the address bar");
  setTimeout(() => say($("share"), "Copy link"), 2_000);
}

function pause() {
  feed.paused = !feed.paused;
  $("pause").setAttribute("aria-pressed", String(feed.paused));
}

$("table").append(table.element);
$("legend").append(legend.element);
$("lists").append(...tops.map((each) => each.element), silent.element);
$("download").addEventListener("click", download);
$("share").addEventListener("click", share);
$("pause").addEventListener("click", pause);
$("go").addEventListener("click", () => access.begin());
$("signout").addEventListener("click", () => access.end());
$("local").addEventListener("change", (event) => change({ utc: !event.target.checked }));
addEventListener("popstate", () => {
  view = fitted(fromHash(location.hash), rollups);
  if (controls) show();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const chart of charts) chart.repaint();
  if (grid) showGrid(grid, { fresh: false });
});
begin();
