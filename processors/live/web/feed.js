// Everything that asks the API: once, or again and again, and at once where it is told that something changed.

import { parseExact } from "./exact.js";
import { News } from "./news.js";

const TIMEOUT_MS = 30_000;
const SHARE = 4; // a watch rests so many times as long as its answer took: a page takes a fifth of a server at most
const RETRY_MS = [1_000, 2_000, 4_000, 8_000, 15_000];
const REFUSED_MS = 30_000;
const MOST_ROLLUPS = 16; // that one connection hears of
const QUIET_MS = 30_000; // who is told of changes asks by himself so often: what is told may be lost
const BUSY_MS = [1_000, 2_000, 4_000, 8_000]; // before a question that was too many is asked again, and up to twice that
/** Of a watch: what it asks for may change with whatever changes. */
export const ANY = "*";

/** The stack does not answer, or not as itself. */
export class Gone extends Error {}

/** The stack refuses the question: `problems` are its lines, `status` is HTTP's. */
export class Refused extends Error {
  constructor(status, problems) {
    super(problems.join("\n"));
    this.status = status;
    this.problems = problems;
  }
}

/** Nobody has to say who he is. signin.js has the other one. */
const OPEN = { bearer: async () => null, renewed: async () => false, refused: () => {} };

/**
 * Asks under *base*, as whom *access* says. `onHealth({state, retryMs})` hears "live" (told of changes), "polling" (asked
 * again and again), "gone" (asked again after *retryMs*) and "paused". Nothing is asked while the page is hidden or paused,
 * and nothing heard.
 */
export class Feed {
  #watches = new Set();
  #paused = false;
  #up = null; // a promise while the stack is gone
  #said = "";
  #news;

  constructor({ base = "v1/", live = "live", access = OPEN, onHealth = () => {}, everyMs = 2_000 } = {}) {
    const url = new URL(live, document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    this.#news = new News({
      address: () => this.#address(url.href),
      onChanged: (rollup, sinceMs) => this.#changed(rollup, sinceMs),
      onOpen: (is) => {
        if (!this.#up && !this.#paused) this.#say("live");
        for (const watch of this.#watches) this.#stale(watch, Infinity); // what changed before is not told
        if (!is) this.#wake(); // who rested for long asks now
      },
    });
    this.base = base;
    this.access = access;
    this.onHealth = onHealth;
    this.everyMs = everyMs;
    document.addEventListener("visibilitychange", () => {
      this.#listen();
      this.#wake();
    });
  }

  get paused() {
    return this.#paused;
  }

  set paused(paused) {
    this.#paused = paused;
    if (paused || !this.#up) this.#say(paused ? "paused" : "live"); // where it is gone, the next attempt tells
    this.#listen();
    this.#wake();
  }

  /** Ask once. Returns the answer, exact; null where it is as *tag* knows it. With *since* as another was told since then. Throws: Gone, Refused. */
  async ask(path, params = [], { signal, tag, since } = {}) {
    const response = await this.#fetch(path, params, { signal, tag, since, accept: "application/json" });
    if (response.status === 304) {
      this.#alive();
      return null;
    }
    const text = await response.text().catch(() => {
      throw new Gone("the answer broke off");
    });
    try {
      const body = parseExact(text);
      this.#alive();
      if (tag) tag.etag = response.headers.get("ETag");
      return body;
    } catch {
      throw new Gone("what answers is not streamgage");
    }
  }

  /** Ask once, for a file. Throws: Gone, Refused. */
  async file(path, params, accept) {
    return (await this.#fetch(path, params, { accept })).blob();
  }

  async #fetch(path, params, { signal, tag, since = Infinity, accept }) {
    const query = new URLSearchParams(params).toString();
    const url = `${this.base}${path}${query && `?${query}`}`;
    const headers = { Accept: accept };
    if (since < Infinity) headers["Cache-Control"] = "max-age=1"; // another page's answer will do, if it is so young
    if (since > 0 && since < Infinity) headers["Streamgage-Since-Ms"] = String(since);
    if (tag && tag.url === url && tag.etag) headers["If-None-Match"] = tag.etag;
    if (tag && tag.url !== url) Object.assign(tag, { url, etag: null });
    const limit = AbortSignal.timeout(TIMEOUT_MS);
    const either = signal ? AbortSignal.any([signal, limit]) : limit;
    for (let turn = 0; ; turn += 1) {
      let response;
      try {
        response = await this.#send(url, headers, either);
      } catch (error) {
        if (signal?.aborted || error instanceof Gone || error instanceof Refused) throw error;
        throw new Gone(limit.aborted ? `no answer within ${TIMEOUT_MS / 1000} s` : "no connection");
      }
      if (response.ok || response.status === 304) return response;
      if (response.status !== 429 || turn === BUSY_MS.length) throw await refusal(response);
      // Many pages share a rate: they ask again apart, and a watch rests the longer, for its answer took so long.
      await new Promise((resolve) => setTimeout(resolve, BUSY_MS[turn] * (1 + Math.random())));
    }
  }

  /** Return where to hear: with a ticket where one is needed, for a WebSocket carries no token. Throws: Gone, Refused. */
  async #address(url) {
    const response = await this.#send(`${this.base}live/ticket`, { Accept: "application/json" }, AbortSignal.timeout(TIMEOUT_MS), "POST");
    const { ticket } = response.ok ? await response.json() : {};
    return ticket ? `${url}?ticket=${encodeURIComponent(ticket)}` : url;
  }

  /** Send, and where the token was refused and another is had, once more. */
  async #send(url, headers, signal, method = "GET") {
    const ask = (bearer) => fetch(url, { method, headers: signed(headers, bearer), cache: "no-store", signal });
    const bearer = await this.access.bearer();
    const first = await ask(bearer);
    if (first.status !== 401 || !bearer || !(await this.access.renewed(bearer))) return first;
    const second = await ask(await this.access.bearer());
    if (second.status === 401) this.access.refused();
    return second;
  }

  /**
   * Ask *question()* → [path, params] now and again, as long as it is watched; `onAnswer(body)` gets what is new, with *every*
   * also null for what is not; `onRefused(error)` what is refused. *of* is the rollup (or ANY) that it is of, where the answer
   * is another only if something of that changed: where that is told it is asked only then (*eager*: at once) and every
   * *quietMs*, and `onQuiet()` hears in place of an answer that nothing did. Returns {stop()}.
   */
  watch(question, { of = "", eager = false, ...more }) {
    const watch = { stopped: false, wake: () => {}, abort: new AbortController(), tag: {}, of, eager, isStale: true, since: 0 };
    this.#watches.add(watch);
    this.#listen();
    this.#follow(watch, question, more);
    return {
      stop: () => {
        watch.stopped = true;
        watch.abort.abort();
        watch.wake();
        this.#watches.delete(watch);
        this.#listen();
      },
    };
  }

  async #follow(watch, question, { everyMs = this.everyMs, quietMs = QUIET_MS, every = false, onAnswer, onQuiet = () => {}, onRefused = () => {} }) {
    let askedMs = -Infinity;
    const isKnown = () => watch.of && this.#news.isOpen && !watch.isStale && performance.now() < askedMs + quietMs;
    while (!watch.stopped) {
      if (this.#paused || document.hidden) await rest(watch, REFUSED_MS * 1_000);
      else if (this.#up) await this.#up;
      else if (isKnown()) {
        onQuiet();
        await rest(watch, everyMs);
      } else {
        const started = performance.now();
        let restMs = everyMs;
        const { since } = watch;
        Object.assign(watch, { isStale: false, since: 0 }); // what is told from now on may not be in the answer
        try {
          const [path, params] = question();
          askedMs = started;
          const body = await this.ask(path, params, { signal: watch.abort.signal, tag: watch.tag, since });
          if ((body !== null || every) && !watch.stopped) await onAnswer(body);
        } catch (error) {
          if (watch.stopped) return;
          restMs = REFUSED_MS;
          if (error instanceof Gone) {
            watch.tag = {};
            this.#stale(watch, Infinity);
            this.lost(error);
            continue;
          }
          if (error instanceof Refused) onRefused(error);
          else reportError(error); // ours: it belongs in the console
        }
        const until = performance.now() + SHARE * (performance.now() - started);
        if (!watch.isStale || !watch.eager) await rest(watch, Math.max(restMs, until - performance.now()));
        if (performance.now() < until) await rest(watch, until - performance.now());
      }
    }
  }

  /** Note that the stack is gone; resolves once it is back. */
  lost(error) {
    this.#up ??= this.#probe(error);
    return this.#up;
  }

  async #probe(error) {
    for (let attempt = 0; ; attempt += 1) {
      const retryMs = RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)];
      this.#said = "gone";
      this.onHealth({ state: "gone", retryMs, reason: error.message });
      const probe = { stopped: false, wake: () => {} };
      this.#watches.add(probe);
      await rest(probe, document.hidden ? REFUSED_MS * 1_000 : retryMs);
      this.#watches.delete(probe);
      try {
        await this.ask("status");
        break;
      } catch (again) {
        if (again instanceof Refused) break;
        error = again;
      }
    }
    this.#up = null;
    this.#news.soon();
    this.#say(this.#paused ? "paused" : "live");
  }

  /** Hear of what is watched. A view that is shown anew is heard of without a pause. */
  #listen() {
    queueMicrotask(() => {
      const names = new Set([...this.#watches].map((watch) => watch.of).filter((of) => of && of !== ANY));
      if (this.#paused || document.hidden) this.#news.want([]);
      else if (names.size > 0) this.#news.want([...names].sort().slice(0, MOST_ROLLUPS));
    });
  }

  #changed(rollup, sinceMs) {
    for (const watch of this.#watches) {
      if (watch.of !== rollup && watch.of !== ANY) continue;
      this.#stale(watch, sinceMs);
      if (watch.eager) watch.wake();
    }
  }

  #stale(watch, sinceMs) {
    Object.assign(watch, { isStale: true, since: Math.max(watch.since, sinceMs) });
  }

  #alive() {
    if (!this.#up && !this.#paused) this.#say("live");
  }

  #say(state) {
    if (state === "live" && !this.#news.isOpen) state = "polling";
    if (state === this.#said) return;
    this.#said = state;
    this.onHealth({ state });
  }

  #wake() {
    if (!document.hidden) for (const watch of this.#watches) watch.wake();
  }
}

function signed(headers, bearer) {
  return bearer ? { ...headers, Authorization: bearer } : headers;
}

async function refusal(response) {
  const body = await response.json().catch(() => null);
  const told = body && typeof body.error === "string" ? body : null;
  const problems = told ? [told.error, ...(Array.isArray(told.problems) ? told.problems : [])].map(String) : [];
  // What says why is ours: 504 is "it would take too long". What does not is a gateway with nothing behind it. 503 passes.
  const isOurs = told && response.status !== 503;
  if (isOurs || response.status === 403 || response.status === 401) {
    return new Refused(response.status, problems.length ? [...new Set(problems)] : [`not allowed (${response.status})`]);
  }
  return new Gone(problems[0] ?? `answer ${response.status}`);
}

function rest(watch, ms) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, Math.min(ms, 2 ** 31 - 1));
    watch.wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}
