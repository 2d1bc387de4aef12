/**
 * Who is signed in, and a valid access token whenever one is asked for. The refresh token lives in
 * an HttpOnly cookie, so a page's script never sees it; renewals are single-flight, across tabs too
 * where the browser can lock.
 */
import { backoffMs } from "./closeCode.ts";
import type { User } from "./frames.ts";
import type { Http } from "./http.ts";
import { asProblem, Problem } from "./problem.ts";
import { Store } from "./store.ts";

export type SessionState =
  /** Asking the server whether the cookie still stands for somebody; `problem` says why it takes long. */
  | { readonly status: "restoring"; readonly problem?: Problem }
  /** `ended`: the server ended a session that this page had. */
  | { readonly status: "out"; readonly ended: boolean }
  | { readonly status: "in"; readonly user: User };

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** Runs `work` while no other tab of the origin does. */
export type Exclusive = <T>(work: () => Promise<T>) => Promise<T>;

interface Tokens {
  readonly user: User;
  readonly access_token: string;
  /** Seconds. */
  readonly expires_in: number;
}

export class Session extends Store<SessionState> {
  readonly #http: Http;
  readonly #random: () => number;
  readonly #exclusive: Exclusive;
  #state: SessionState = { status: "restoring" };
  #token = "";
  #expiresAt = 0;
  #lifeMs = 0;
  #renewal: Promise<string> | undefined;
  #restoring: ReturnType<typeof setTimeout> | undefined;

  constructor(http: Http, random: () => number, exclusive: Exclusive) {
    super();
    this.#http = http;
    this.#random = random;
    this.#exclusive = exclusive;
  }

  protected override compose(): SessionState {
    return this.#state;
  }

  /** The signed-in user. */
  get user(): User | undefined {
    return this.#state.status === "in" ? this.#state.user : undefined;
  }

  /** Milliseconds until the present access token expires; negative when it has. */
  get expiresInMs(): number {
    return this.#expiresAt - Date.now();
  }

  /** Takes up the session of the cookie; keeps asking while the server cannot be reached. */
  restore(attempt = 0): void {
    clearTimeout(this.#restoring);
    this.#renew().catch((error: unknown) => {
      if (this.#state.status !== "restoring") return;
      const problem = asProblem(error);
      this.#become({ status: "restoring", problem });
      const delay = problem.retryAfterMs ?? 500 + backoffMs(attempt, this.#random());
      this.#restoring = setTimeout(() => this.restore(attempt + 1), delay);
    });
  }

  /** Opens an account and signs in. Throws a `Problem`. */
  async register(who: Credentials): Promise<void> {
    this.#accept(await this.#http.call<Tokens>(signIn("/auth/register", who)));
  }

  /** Signs in. Throws a `Problem`. */
  async login(who: Credentials): Promise<void> {
    this.#accept(await this.#http.call<Tokens>(signIn("/auth/login", who)));
  }

  /** Ends the session on the server and here. Throws a `Problem`, and stays in, when it is not reached. */
  async logout(): Promise<void> {
    // A renewal in flight would bring back a cookie that the logout has just taken away.
    await this.#renewal?.catch(() => undefined);
    try {
      await this.#http.call<void>({ method: "POST", path: "/auth/logout", body: {} });
    } catch (error) {
      if (asProblem(error).status !== 401) throw error;
    }
    this.#end(false);
  }

  /**
   * An access token with at least `lifeMs` to go (or half its life, when that is less), that is not
   * `stale`, one the server has refused. Throws a `Problem`; after a 401 the session is over.
   */
  async token(lifeMs = 30_000, stale?: string): Promise<string> {
    const fresh = this.expiresInMs > Math.min(lifeMs, this.#lifeMs / 2);
    if (fresh && this.#token !== "" && this.#token !== stale) return this.#token;
    if (this.#state.status === "out") throw new Problem(401, "unauthorized", "signed out");
    return this.#renew();
  }

  #renew(): Promise<string> {
    this.#renewal ??= this.#exclusive(async () => {
      try {
        const call = { method: "POST", path: "/auth/refresh", body: {} } as const;
        this.#accept(await this.#http.call<Tokens>(call));
        return this.#token;
      } catch (error) {
        if (asProblem(error).status === 401) this.#end(this.#state.status === "in");
        throw error;
      }
    }).finally(() => {
      this.#renewal = undefined;
    });
    return this.#renewal;
  }

  #accept(tokens: Tokens): void {
    clearTimeout(this.#restoring);
    this.#token = tokens.access_token;
    this.#lifeMs = tokens.expires_in * 1000;
    this.#expiresAt = Date.now() + this.#lifeMs;
    // Another tab may have signed in somebody else: the cookie is one for all of them.
    if (this.user?.id !== tokens.user.id) this.#become({ status: "in", user: tokens.user });
  }

  #end(ended: boolean): void {
    clearTimeout(this.#restoring);
    this.#token = "";
    this.#expiresAt = 0;
    this.#become({ status: "out", ended });
  }

  #become(state: SessionState): void {
    this.#state = state;
    this.changedNow();
  }
}

function signIn(path: string, who: Credentials) {
  return { method: "POST", path, body: { ...who, cookie: true } } as const;
}
