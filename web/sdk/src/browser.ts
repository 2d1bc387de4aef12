/**
 * The client in a browser: the page's own origin, its network events, its storage, and a lock that
 * all tabs share, so that two of them never renew the one session at a time.
 */
import { ChatClient } from "./client.ts";
import type { Keep } from "./outbox.ts";
import type { Exclusive } from "./session.ts";

/** A client for the server that this page came from. Call `session.restore()` to begin. */
export function connectHere(): ChatClient {
  const events = new EventTarget();
  for (const name of ["online", "offline"]) {
    window.addEventListener(name, () => events.dispatchEvent(new Event(name)));
  }
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) events.dispatchEvent(new Event("visibilitychange"));
  });
  const keep = storage();
  return new ChatClient({
    fetch: window.fetch.bind(window),
    origin: window.location.origin,
    openSocket: (url) => new WebSocket(url),
    random: Math.random,
    events,
    isOffline: () => !navigator.onLine,
    exclusive: lock,
    ...(keep ? { keep } : {}),
  });
}

/** Locks exist in secure contexts only; without them the server's 30 s of grace must do. */
const lock: Exclusive = (work) =>
  "locks" in navigator ? navigator.locks.request("chatroom.session", () => work()) : work();

function storage(): Keep | undefined {
  // Even to look at it throws where storage is forbidden.
  try {
    return window.localStorage;
  } catch {
    return undefined;
  }
}
