/**
 * A thing that changes, seen as immutable snapshots: what React's `useSyncExternalStore` expects
 * and any other view can use. Bursts of changes reach the listeners as one.
 */
export abstract class Store<S> {
  readonly #listeners = new Set<() => void>();
  #snapshot: S | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Calls `listener` after each change until the returned function is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  };

  /** The present state; the same object until something changes. */
  readonly snapshot = (): S => {
    this.#snapshot ??= this.compose();
    return this.#snapshot;
  };

  protected abstract compose(): S;

  /** Says that the snapshot is outdated; the listeners hear of it once a frame. */
  protected changed(): void {
    this.#snapshot = undefined;
    this.#timer ??= setTimeout(() => this.#notify(), COALESCE_MS);
  }

  /** The same, at once: for what the user did and waits to see. */
  protected changedNow(): void {
    this.#snapshot = undefined;
    this.#notify();
  }

  #notify(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const listener of this.#listeners) listener();
  }
}

/** One frame at 60 Hz: a room with a thousand messages a second still paints. */
const COALESCE_MS = 16;
