// Page views, clicks and custom events of a browser, to a collector: each counts once, whatever becomes of the page.
//
// Events are gathered in batches. A batch is an entry of localStorage from its first event on: its name begins with the time of
// that event, its value is the text that is sent, `…,` while it is open, `…]}` once it is sealed. A sealed batch never changes,
// and the collector counts (client, batch) once: any page may send it, at any time, again, and no page has to know what
// another one does, or what became of a request. An open batch takes events for BATCH_MS; who finds one that is older than
// FOREIGN_MS seals it. How it is used: docs/browser.md. Why it is so, and so short: docs/adr/0048-browser.md.

(() => {
  const BATCH_MS = 500; // an event waits no longer
  const BATCH_EVENTS = 20;
  const EVENT_CHARS = 9_500; // a batch is sealed when it is as long: 57,000 bytes at most, and a head. Browsers take 64 KiB of a page that leaves
  const BATCHES = 256; // that wait; the oldest goes. Who clicks seldom has one event in each
  const FOREIGN_MS = 30_000; // BATCH_MS, and time for one tab's storage to be seen in another
  const RESEND_MS = 160_000_000; // 44 h: a collector remembers for 48 h what it took
  const SESSION_MS = 1_800_000;
  const MAX_PAUSE_S = 600; // between attempts: 1, 2, 4, …, or what Retry-After asks for
  const HOPELESS = /4(0[09]|1[35])/; // refused for what it is; anything else, 401 and 404 too, can be mended there

  const {
    to = "",
    key,
    source = "click",
    fields = "visitor_id page referrer action ts properties",
    clicks = "[data-track]",
    consent,
  } = document.currentScript.dataset;

  if (window.streamgage) return; // a second tag would count everything twice

  const address = to + "/v1/events" + (key ? "?key=" + key : "");
  const tail = " streamgage " + to; // names in the storage end so; this alone: visitor, session, time of the last event
  const random = () => crypto.getRandomValues(new Uint32Array(3)).join("");
  const clean = (url) => url?.split(/[?#]/)[0];
  const client = random();

  let on; // events are recorded
  let page;
  let path;
  let referrer = clean(document.referrer) || null;

  // --- storage: localStorage; from the moment on that it is full or blocked, the memory of this page

  let kept = {};
  let disk = kept;
  const forget = (name) => {
    delete kept[name];
    delete disk[name];
  };
  const write = (name, value) => {
    try {
      kept[name] = value;
    } catch {
      forget(name); // no other page may find the shorter text of a batch that goes on here
      kept = { ...disk, [name]: value };
    }
  };
  const names = () => Object.keys(kept).filter((name) => name.endsWith(tail)).sort();

  // --- batches

  let batches = 0;
  let open; // the name of the batch that takes events
  let text;

  const age = (name) => Math.abs(Date.now() - parseInt(name)); // clocks go back, too
  const eventsIn = (batch) => batch.split("\n").length - 1; // each begins a line
  const seal = (name, batch) => write(name, batch.slice(0, -1) + "]}");

  /** Have done with a batch, *count* events of which are lost. */
  const finish = (name, count, status, refused) => {
    forget(name);
    api.lost += count;
    if (count) api.onrefused?.(count, status, refused);
  };

  const close = () => {
    if (open) seal(open, text);
    open = 0;
  };

  /** Return the names of the batches that may be sent, the oldest first, but for the one that is under way. */
  const due = () =>
    names().filter(
      (name) =>
        name !== sending &&
        (kept[name].endsWith("}")
          ? age(name) < RESEND_MS || finish(name, eventsIn(kept[name]))
          : age(name) > FOREIGN_MS && !seal(name, kept[name])),
    );

  const add = (event) => {
    const line = "\n" + JSON.stringify(event) + ",";
    if (line.length > EVENT_CHARS) return finish(0, 1, 413);
    if (age(open) > BATCH_MS) flush(); // timers are late in pages that nobody sees
    if (!open) {
      due().slice(0, 1 - BATCHES).map((name) => finish(name, eventsIn(kept[name])));
      open = [Date.now(), client, ++batches].join(" ") + tail;
      text = `{"client":"${client}","batch":${batches},"events":[`;
      setTimeout(flush, BATCH_MS); // sooner for a later batch, where this one is full before
    }
    write(open, (text += line));
    if (text.length > EVENT_CHARS || eventsIn(text) >= BATCH_EVENTS) flush();
  };

  // --- sending

  let failures = 0;
  let sending; // the name of the batch that is under way; 1 in a pause, and when the page is gone

  const request = (body) => ({ method: "POST", body, keepalive: true }); // a text: no preflight

  const send = async () => {
    while (!sending && (sending = due()[0])) {
      const name = sending; // it may be another one when the answer comes
      const batch = kept[name];
      let answer;
      try {
        answer = await fetch(address, request(batch));
        const refused = HOPELESS.test(answer.status) || (await answer.json()).refused;
        finish(name, refused.length ?? eventsIn(batch), answer.status, refused); // none: not durable, or no collector's answer
        failures = sending = 0;
      } catch {
        const pause = (+answer?.headers.get("Retry-After") || 2 ** failures++) * (1 + Math.random());
        setTimeout(resume, Math.min(pause, MAX_PAUSE_S) * 1_000);
        sending = 1;
      }
    }
  };

  const resume = () => {
    sending = 0;
    send();
  };

  const flush = () => {
    close();
    send();
  };

  /** Hand over what waits, without an answer: the next page sends it again, and it counts once. */
  const leave = () => {
    close();
    due().map((name) => {
      try {
        fetchLater(address, request(kept[name]));
      } catch {
        navigator.sendBeacon?.(address, kept[name]) || fetch(address, request(kept[name])).catch(() => {});
      }
    });
    sending = 1; // nothing more, until the page is back
  };

  // --- events

  const track = (action, properties) => {
    if (!on) return;
    const ts = Date.now();
    const [visitor_id, id, last] = (kept[tail] ?? random()).split(" ");
    const session = Math.abs(ts - last) < SESSION_MS ? id : random();
    write(tail, [visitor_id, session, ts].join(" "));
    const texts = { ...properties, session };
    const known = { ...texts, visitor_id, page, referrer, action, ts, properties: texts };
    for (const name in texts) texts[name] += "";
    const event = { source };
    for (const each of fields.split(" ")) {
      const [field, from = field] = each.split("=");
      event[field] = known[from];
    }
    add(event);
  };

  const view = (name = path) => {
    referrer = page || referrer;
    page = name;
    track("view");
  };

  const moved = () => {
    if (on && path !== (path = location.pathname)) view();
  };

  for (const name of ["pushState", "replaceState"]) {
    const original = history[name];
    history[name] = (...values) => {
      original.apply(history, values);
      moved();
    };
  }

  const heard = {
    popstate: moved,
    online: resume,
    pagehide: leave,
    pageshow: (event) => {
      if (event.persisted) {
        resume();
        view();
      }
    },
    visibilitychange: flush, // it may be the last that a telephone tells
    click: ({ target }) => {
      const found = target.closest?.(clicks);
      if (found) track(found.dataset.track || "click", { target: found.id || clean(found.getAttribute("href")) || "" });
    },
  };
  for (const name in heard) addEventListener(name, heard[name], true);

  const api = (window.streamgage = {
    track,
    view,
    flush,
    lost: 0,
    consent(given) {
      if (document.prerendering) return addEventListener("prerenderingchange", () => api.consent(given), true);
      close();
      on = given && !navigator.globalPrivacyControl;
      try {
        kept = disk = localStorage || disk; // null: a WebView without
      } catch {}
      if (!on) names().map(forget);
      moved();
    },
  });
  consent ?? api.consent(true); // an empty attribute asks, too
})();
