// Who asks: sign-in by authorization code with PKCE, where config.json names a place for it. RFC 6749, 7636; OpenID Connect Core.
// Tokens stand in sessionStorage: docs/adr/0040-page-on-aws.md has why.

import { Gone, Refused } from "./feed.js";

const TIMEOUT_MS = 30_000;
const EARLY_MS = 60_000; // a token is renewed before it expires: an answer takes its time
const TOKENS = "streamgage.tokens";
const PENDING = "streamgage.pending";

/** Nobody is signed in, and the stack answers nobody else. */
export class SignedOut extends Refused {
  constructor(reason) {
    super(401, [reason]);
  }
}

/**
 * The access of this tab. `onState({state, reason})` hears "in" and "out", and nothing where nobody has to sign in. Make it first:
 * who comes back from signing in has his answer in the address, which is taken out of it here, and the view put back.
 */
export class SignIn {
  #config = null; // a promise of config.json's sign_in
  #answered;
  #tokens = read(TOKENS);
  #renewing = null;
  #reason = "Sign in to see the numbers.";
  #state = "";

  constructor({ onState = () => {} } = {}) {
    this.onState = onState;
    this.#answered = takeAnswer();
  }

  /** Return what a request says of who asks; null where nobody has to say. Throws: SignedOut, Gone. */
  async bearer() {
    const config = await this.#load();
    if (!config) return null;
    const answered = this.#answered;
    this.#answered = null;
    if (answered) this.#renewing = this.#acceptOnce(config, answered).finally(() => (this.#renewing = null));
    await this.#renewing;
    if (this.#tokens && Date.now() >= this.#tokens.expires_ms - EARLY_MS) await this.#renew(config);
    if (!this.#tokens) {
      this.#say("out");
      throw new SignedOut(this.#reason);
    }
    this.#say("in");
    return `Bearer ${this.#tokens[config.token]}`;
  }

  /** Tell whether to ask once more, for *bearer* was refused and there is another now. Throws: Gone. */
  async renewed(bearer) {
    const config = await this.#load();
    if (this.#tokens && `Bearer ${this.#tokens[config.token]}` === bearer) await this.#renew(config);
    return this.#tokens !== null;
  }

  /** Note that the stack refuses a token that was just made. */
  refused() {
    this.#end("The stack does not take this sign-in. Sign in again, or ask who runs it whether you may see it.");
  }

  /** Go and sign in; comes back to the view that is shown. */
  async begin() {
    const config = await this.#load();
    const [state, nonce, verifier] = [secret(), secret(), secret()];
    write(PENDING, { state, nonce, verifier, hash: location.hash });
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
    location.assign(
      address(config, "oauth2/authorize", {
        response_type: "code", client_id: config.client_id, redirect_uri: here(), scope: "openid",
        state, nonce, code_challenge: base64url(new Uint8Array(digest)), code_challenge_method: "S256",
      }),
    );
  }

  /** Sign out: here, of what renews tokens, and of the place where one signs in. */
  async end() {
    const config = await this.#load();
    const token = this.#tokens?.refresh_token;
    this.#end("You are signed out.");
    if (token) await this.#post(config, "oauth2/revoke", { token }).catch(() => {}); // it expires; here it is forgotten
    location.assign(address(config, "logout", { client_id: config.client_id, logout_uri: here() }));
  }

  #load() {
    this.#config ??= readConfig().catch((error) => {
      this.#config = null; // asked for again
      throw error;
    });
    return this.#config;
  }

  async #acceptOnce(config, answered) {
    try {
      await this.#accept(config, answered);
    } catch (error) {
      this.#answered = answered; // nobody has seen the code yet, or says so
      throw error;
    }
  }

  /** Turn the answer of who was signed in into tokens. A code is good once, for who has the verifier. */
  async #accept(config, { pending, params }) {
    if (!pending || params.get("state") !== pending.state) {
      this.#reason = "That was not the answer to a sign-in of this tab. Sign in again.";
      return;
    }
    if (params.has("error") || !params.get("code")) {
      this.#reason = `Signing in failed: ${params.get("error_description") ?? params.get("error") ?? "no code came back"}.`;
      return;
    }
    const answer = await this.#tokensBy(config, {
      grant_type: "authorization_code", code: params.get("code"), redirect_uri: here(), code_verifier: pending.verifier,
    });
    if (answer.refused) this.#end(`Signing in failed (${answer.refused}). Sign in again.`);
    else if (answer.claims.nonce !== pending.nonce) this.#end("Signing in was answered with another's token. Sign in again.");
    else this.#keep(answer);
  }

  /** Have new tokens, once for all who wait. */
  #renew(config) {
    this.#renewing ??= this.#renewOnce(config).finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  async #renewOnce(config) {
    const { refresh_token, sub } = this.#tokens;
    const answer = refresh_token
      ? await this.#tokensBy(config, { grant_type: "refresh_token", refresh_token })
      : { refused: "nothing to renew it with" };
    if (answer.refused) this.#end("Your session has ended. Sign in again.");
    else if (answer.claims.sub !== sub) this.#end("Your session was renewed as somebody else's. Sign in again.");
    else this.#keep({ ...answer, tokens: { refresh_token, ...answer.tokens } });
  }

  /** Ask for tokens. Returns {tokens, claims}, or {refused}: why not. Throws: Gone. */
  async #tokensBy(config, form) {
    const response = await this.#post(config, "oauth2/token", form);
    const tokens = await response.json().catch(() => null);
    if (response.status >= 500 || response.status === 429) throw new Gone(`the sign-in answers ${response.status}`);
    if (!response.ok || !tokens) return { refused: tokens?.error ?? `answer ${response.status}` };
    const claims = claimsOf(tokens.id_token);
    if (!claims || claims.iss !== config.issuer || claims.aud !== config.client_id) return { refused: "a token for another application" };
    if (!tokens[config.token]) return { refused: `no ${config.token} came back` };
    return { tokens, claims };
  }

  async #post(config, path, form) {
    const body = new URLSearchParams({ client_id: config.client_id, ...form });
    try {
      return await fetch(address(config, path), { method: "POST", body, cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(TIMEOUT_MS) });
    } catch {
      throw new Gone("no connection to the sign-in");
    }
  }

  #keep({ tokens, claims }) {
    const { access_token, id_token, refresh_token, expires_in } = tokens;
    this.#tokens = { access_token, id_token, refresh_token, sub: claims.sub, expires_ms: Date.now() + 1000 * Number(expires_in ?? 0) };
    write(TOKENS, this.#tokens);
  }

  #end(reason) {
    this.#tokens = null;
    this.#reason = reason;
    sessionStorage.removeItem(TOKENS);
    this.#say("out");
  }

  #say(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.onState({ state, reason: this.#reason });
  }
}

/** Return config.json's sign_in; null where nobody has to sign in. It lies beside this file, in the same version. */
async function readConfig() {
  let response;
  try {
    response = await fetch(new URL("config.json", import.meta.url), { signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new Gone("no connection");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok || !body || !("sign_in" in body)) throw new Gone("the page's config.json cannot be read");
  return body.sign_in;
}

/** Take the answer of a sign-in out of the address, and what was pending out of the storage, whatever they say: both are good once. */
function takeAnswer() {
  const params = new URLSearchParams(location.search);
  if (!params.has("code") && !params.has("error")) return null;
  const pending = read(PENDING);
  sessionStorage.removeItem(PENDING);
  const isOurs = pending && params.get("state") === pending.state;
  history.replaceState(null, "", `${location.pathname}${isOurs ? pending.hash : location.hash}`);
  return { pending, params };
}

/** Return what a token says. It came from the place that made it, by TLS: its signature is for who gets it from elsewhere. */
function claimsOf(token) {
  try {
    const text = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (each) => each.charCodeAt(0))));
  } catch {
    return null;
  }
}

const here = () => new URL(".", location.origin + location.pathname).href;
const address = (config, path, params) => `${config.url}/${path}${params ? `?${new URLSearchParams(params)}` : ""}`;
const secret = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function read(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name));
  } catch {
    return null;
  }
}

function write(name, value) {
  sessionStorage.setItem(name, JSON.stringify(value));
}
