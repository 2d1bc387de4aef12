/** One thing that is done again until it works, after growing random delays. */
import { backoffMs } from "./closeCode.ts";

export class Retry {
  readonly #random: () => number;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** Whether the next attempt has been fixed. */
  get waiting(): boolean {
    return this.#timer !== undefined;
  }

  /** Does `work` after `delayMs`, or after the backoff; what waited before is not done any more. */
  later(work: () => void, delayMs?: number): void {
    clearTimeout(this.#timer);
    const delay = delayMs ?? RETRY_MS + backoffMs(this.#attempt, this.#random());
    this.#attempt += 1;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      work();
    }, delay);
  }

  /** It worked: the next failure is a first one. */
  done(): void {
    this.#attempt = 0;
  }

  /** Nothing is waited for any more. */
  cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** At least this long, when the server names no time. */
const RETRY_MS = 300;
