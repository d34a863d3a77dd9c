// What streamgage.min.js puts on its page: `window.streamgage`. docs/browser.md has the attributes of its tag.

/** What the collector says of one event that it did not take. */
interface StreamgageRefusal {
  index: number;
  place: string;
  reason: string;
}

interface Streamgage {
  /**
   * Tell of *action*. The properties are sent as texts; an attribute `data-fields` of the tag sends them as they are.
   * When it returns, the event is kept until it is acknowledged, unless the visitor has not consented.
   */
  track(action: string, properties?: Record<string, unknown>): void;
  /** Tell of a page view: of *page*, or of the path of the address. Navigation within a page is heard without. */
  view(page?: string): void;
  /** Send what waits, now. */
  flush(): void;
  /**
   * Say whether the visitor agrees. `true` begins, `false` ends, and erases visitor, session and what waits. Where the browser
   * says Global Privacy Control, either erases, and nothing is recorded.
   */
  consent(given: boolean): void;
  /** Events of this page's queue that were given up: refused, too long, too old, or pushed out of a full queue. */
  lost: number;
  /**
   * Called when events are given up: how many, the collector's status (413: too long for the queue; none: pushed out or too
   * old), and its reasons, where it has any (200, 422).
   */
  onrefused?: (count: number, status?: number, refused?: StreamgageRefusal[] | true) => void;
}

interface Window {
  readonly streamgage: Streamgage;
}

declare const streamgage: Streamgage;
