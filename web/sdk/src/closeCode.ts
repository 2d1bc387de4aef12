/**
 * What a client does after a close: the table of close codes in PROTOCOL.md section 3, and the
 * random delay that spreads a crowd of reconnecting clients.
 */

/** `retry` after a random delay, `token` with a new token, `stop` means never by itself. */
export type CloseReaction = "retry" | "token" | "stop";

/** The reaction that the contract asks for. A code that it does not list means `retry`. */
export function closeReaction(code: number): CloseReaction {
  if (code === 4401) return "token";
  if (STOP.has(code) || (code >= 4500 && code <= 4599)) return "stop";
  return "retry";
}

/** Between 0 and min(30 s, 0.5 s · 2ⁿ), evenly; `chance` is in [0, 1). Milliseconds. */
export function backoffMs(attempt: number, chance: number): number {
  return Math.floor(chance * Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** attempt));
}

/** Protocol error, binary frame, invalid UTF-8, forbidden, no such room: the same would follow. */
const STOP: ReadonlySet<number> = new Set([1002, 1003, 1007, 4403, 4404]);
const BACKOFF_MS = 500;
const BACKOFF_MS_MAX = 30_000;
