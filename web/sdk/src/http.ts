/**
 * One JSON request over HTTP. Knows neither sessions nor endpoints: `Session` uses it without a
 * token, `Api` with one.
 */
import { asProblem, Problem, readProblem } from "./problem.ts";

export type Fetch = typeof globalThis.fetch;

export interface Call {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** Below `/api/v1`, with its query. */
  readonly path: string;
  readonly body?: unknown;
  readonly token?: string;
  readonly signal?: AbortSignal;
}

/** Sends JSON to one server and reads JSON back. */
export class Http {
  readonly #fetch: Fetch;
  readonly #base: string;

  /** `origin` is scheme, host and port, or empty for the page's own. */
  constructor(fetch: Fetch, origin: string) {
    this.#fetch = fetch;
    this.#base = `${origin}/api/v1`;
  }

  /** The answer's body; throws a `Problem` for everything but a success. */
  async call<T>(call: Call): Promise<T> {
    const headers: Record<string, string> = { accept: "application/json" };
    if (call.token !== undefined) headers["authorization"] = `Bearer ${call.token}`;
    if (call.body !== undefined) headers["content-type"] = "application/json";
    const limit = AbortSignal.timeout(TIMEOUT_MS);
    let response: Response;
    try {
      response = await this.#fetch.call(undefined, this.#base + call.path, {
        method: call.method,
        headers,
        credentials: "same-origin",
        cache: "no-store",
        signal: call.signal ? AbortSignal.any([call.signal, limit]) : limit,
        ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      });
    } catch (error) {
      throw asProblem(error);
    }
    if (!response.ok) throw await readProblem(response);
    if (response.status === 204) return undefined as T;
    try {
      return (await response.json()) as T;
    } catch {
      throw new Problem(response.status, "network", "the answer could not be read");
    }
  }
}

/** Longer than the server lets any request wait, so that its own answer comes first. */
const TIMEOUT_MS = 20_000;
