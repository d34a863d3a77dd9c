// Instants (ms since the epoch), durations and windows as text; UTC, or the time of this browser.

const UNITS_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const DAY_MS = UNITS_MS.d;

/** Return the ms of a duration such as 90s, 1m, 7d; null where it has no one length (1mo, 1d@Europe/Berlin). */
export function durationMs(text) {
  const found = /^(\d{1,9})([smhdw])$/.exec(text);
  return found ? Number(found[1]) * UNITS_MS[found[2]] : null;
}

/** Return the instant of a time in an answer. */
export function instantMs(text) {
  const found = /^(-?\d+) ms$/.exec(text); // beyond the year 9999
  return found ? Number(found[1]) : Date.parse(text);
}

/** Return the instant as the API takes it. */
export function isoText(ms) {
  return new Date(ms).toISOString();
}

/** Return a Date whose UTC fields are those of the zone. */
function inZone(ms, utc) {
  return new Date(utc ? ms : ms - new Date(ms).getTimezoneOffset() * 60_000);
}

function fields(ms, utc) {
  const date = inZone(ms, utc);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}

/** Return "2026-11-29 06:55:00", without a zone: `zoneText` stands once beside. */
export function instantText(ms, utc) {
  const text = fields(ms, utc);
  return text === null ? `${ms} ms` : text.slice(0, -1).replace("T", " ").replace(/\.000$/, "");
}

/** Return the window: "2026-11-29 06:55–06:56", a day as its date. */
export function windowText(startMs, endMs, utc) {
  const [start, end] = [instantText(startMs, utc), instantText(endMs, utc)];
  const [day, from] = start.split(" ");
  const [lastDay, to] = end.split(" ");
  if (from === "00:00:00" && to === "00:00:00") {
    return endMs - startMs <= 1.1 * DAY_MS ? day : `${day} – ${instantText(endMs - 1, utc).slice(0, 10)}`;
  }
  const isWhole = from?.endsWith(":00") && to?.endsWith(":00");
  const cut = (each) => (isWhole ? each?.slice(0, 5) : each);
  return day === lastDay ? `${day} ${cut(from)}–${cut(to)}` : `${day} ${cut(from)} – ${lastDay} ${cut(to)}`;
}

/** Return the zone's name. */
export function zoneText(utc) {
  return utc ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";
}

/** Return how long, in the two largest units that matter: 1.2 s, 4 min 10 s, 3 d 2 h. */
export function spanText(ms) {
  const s = Math.max(ms, 0) / 1000;
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.floor(s)} s`;
  const parts = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];
  const at = parts.findIndex(([size]) => s >= size);
  const [size, unit] = parts[at];
  const [small, smallUnit] = parts[at + 1];
  const rest = Math.floor((s % size) / small);
  return `${Math.floor(s / size)} ${unit}${rest ? ` ${rest} ${smallUnit}` : ""}`;
}

/** Return the value of a datetime-local field for an instant, and back. */
export function fieldText(ms, utc) {
  return fields(ms, utc)?.slice(0, 19) ?? "";
}

export function fieldMs(text, utc) {
  return Date.parse(utc ? `${text}Z` : text);
}

const STEPS_MS = [1, 2, 5, 10, 15, 30].map((s) => s * 1_000).concat(
  [1, 2, 5, 10, 15, 30].map((m) => m * 60_000),
  [1, 2, 3, 6, 12].map((h) => h * 3_600_000),
  [1, 2, 7, 14, 28, 91, 365, 1_825].map((d) => d * DAY_MS),
);

/** Return the ticks of ``[startMs, endMs]``, *count* at most: instants at whole hours, days … of the zone, with texts. */
export function timeTicks(startMs, endMs, count, utc) {
  const least = (endMs - startMs) / Math.max(count, 1);
  const step = STEPS_MS.find((each) => each >= least) ?? Math.ceil(least / (365 * DAY_MS)) * 365 * DAY_MS;
  const shift = inZone(startMs, utc).getTime() - startMs;
  const ticks = [];
  for (let at = Math.ceil((startMs + shift) / step) * step - shift; at <= endMs && ticks.length <= count; at += step) {
    const [day, clock] = instantText(at, utc).split(" ");
    const isDay = step >= DAY_MS || clock === "00:00:00";
    const text = isDay ? day?.slice(step > 300 * DAY_MS ? 0 : 5) : step < 60_000 ? clock : clock?.slice(0, 5);
    ticks.push({ at, text: text ?? "", isDay });
  }
  return ticks;
}
