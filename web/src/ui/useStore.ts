import { useSyncExternalStore } from "react";
interface Subscribable<S> {
  readonly subscribe: (listener: () => void) => () => void;
  readonly snapshot: () => S;
}

/** The present snapshot of a store; renders again after each change. */
export function useStore<S>(store: Subscribable<S>): S {
  return useSyncExternalStore(store.subscribe, store.snapshot);
}
