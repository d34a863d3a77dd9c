// Which rollups changed, told by a WebSocket. It is a hint: who hears nothing asks by himself, so what is lost is only late.

const FIRST_MS = 1_000;
const MOST_MS = 60_000;
const NEVER_MS = 300_000; // between attempts where there never was one
const PING_MS = 240_000; // API Gateway ends what is silent for ten minutes
const PATIENCE_MS = 30_000;

/**
 * Hears of the rollups that are wanted, and comes again by itself. `address()` resolves to where, each time anew;
 * `onChanged(rollup, sinceMs)`: before that it changed, by the server's clock; `onOpen(is)`: whether it hears.
 */
export class News {
  #wanted = [];
  #socket = null;
  #timer = 0; // until the next attempt, or the next ping
  #attempt = 0;
  #isOpen = false;
  #wasOpen = false;

  constructor({ address, onChanged, onOpen }) {
    this.address = address;
    this.onChanged = onChanged;
    this.onOpen = onOpen;
  }

  get isOpen() {
    return this.#isOpen;
  }

  /** Hear of these rollups, in place of those before; of none: end. */
  want(rollups) {
    if (String(rollups) === String(this.#wanted)) return;
    this.#wanted = rollups;
    if (rollups.length === 0) this.#end();
    else if (this.#socket?.readyState === WebSocket.OPEN) this.#subscribe();
    else if (!this.#socket && !this.#timer) this.#connect();
  }

  /** Do not wait for the next attempt: the server has come again. */
  soon() {
    if (this.#socket || this.#wanted.length === 0) return;
    this.#attempt = 0;
    clearTimeout(this.#timer);
    this.#connect();
  }

  async #connect() {
    this.#timer = 0;
    const asking = (this.#socket = { close() {} }); // in place of the socket, while it is asked where
    let socket;
    try {
      const url = await this.address();
      if (this.#socket !== asking) return; // nobody wants it any more
      socket = new WebSocket(url);
    } catch {
      if (this.#socket === asking) this.#lost(); // there is no answer, or the browser forbids it
      return;
    }
    this.#socket = socket;
    const is = () => this.#socket === socket;
    socket.addEventListener("open", () => is() && this.#subscribe());
    socket.addEventListener("message", (event) => is() && this.#hear(event.data));
    socket.addEventListener("close", () => is() && this.#lost());
    this.#within(PATIENCE_MS);
  }

  #subscribe() {
    this.#socket.send(JSON.stringify({ action: "subscribe", rollups: this.#wanted }));
  }

  #hear(text) {
    let told = null;
    try {
      told = JSON.parse(text);
    } catch {
      // no news
    }
    if (told === null || typeof told !== "object") return;
    if (told.subscribed) {
      this.#attempt = 0;
      this.#wasOpen = true;
      this.#open(true);
    }
    if (told.error && !this.#isOpen) return this.#socket.close(); // it will not tell: ask by yourself, and try again later
    if (this.#isOpen) this.#again();
    for (const each of Array.isArray(told.changed) ? told.changed : []) {
      if (typeof each?.rollup === "string" && this.#wanted.includes(each.rollup)) this.onChanged(each.rollup, Number(told.now_ms) || Infinity);
    }
  }

  /** Where nothing is heard for long, ask for a sign of life. */
  #again() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#socket.send('{"action":"ping"}');
      this.#within(PATIENCE_MS);
    }, PING_MS);
  }

  #within(ms) {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#timer = setTimeout(() => {
      if (this.#socket !== socket) return;
      socket.close();
      this.#lost(); // its end may be long in coming
    }, ms);
  }

  #lost() {
    this.#drop();
    if (this.#wanted.length === 0) return;
    const most = this.#wasOpen ? MOST_MS : NEVER_MS;
    const ms = Math.min(most, FIRST_MS * 2 ** this.#attempt++) * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => this.#connect(), ms);
  }

  #end() {
    const socket = this.#socket;
    this.#drop();
    socket?.close();
  }

  #drop() {
    this.#socket = null;
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#open(false);
  }

  #open(is) {
    if (is === this.#isOpen) return;
    this.#isOpen = is;
    this.onOpen(is);
  }
}
