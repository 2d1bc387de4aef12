/**
 * Who is in a room and who is typing there. The server's word is taken as it comes; only typing
 * ends by itself, 6 s after the last sign (PROTOCOL.md section 3).
 */
import type { PresenceFrame, User } from "./frames.ts";

export class Presence {
  #online = 0;
  /** Absent in a room too large for a list. */
  #users: readonly User[] | undefined;
  #typing: readonly { readonly user: User; readonly until: number }[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #changed: () => void;

  /** `changed` is called when typing ends by itself. */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  get online(): number {
    return this.#online;
  }

  get users(): readonly User[] | undefined {
    return this.#users;
  }

  get typing(): readonly User[] {
    return this.#typing.map((entry) => entry.user);
  }

  /** The number in `joined`; a `sync` follows in a room small enough for one. */
  handleJoined(online: number): void {
    this.#online = online;
    if (online > LISTED_MAX) this.#users = undefined;
  }

  handlePresence(frame: PresenceFrame): void {
    this.#online = frame.online;
    switch (frame.event) {
      case "sync":
        this.#users = sorted(frame.users);
        break;
      case "join":
        if (this.#users !== undefined) {
          this.#users = sorted([...without(this.#users, frame.user), frame.user]);
        }
        break;
      case "leave":
        if (this.#users !== undefined) this.#users = without(this.#users, frame.user);
        this.#endTyping(frame.user);
        break;
      case "count":
        this.#users = undefined;
        break;
    }
  }

  /** Names from `/online`, for a room whose list is not sent. */
  handleListed(online: number, users: readonly User[]): void {
    if (this.#users !== undefined) return;
    this.#online = online;
    this.#users = sorted(users);
  }

  handleTyping(user: User): void {
    this.#typing = [
      ...this.#typing.filter((entry) => entry.user.id !== user.id),
      { user, until: Date.now() + TYPING_MS },
    ];
    this.#schedule();
  }

  /** A message ends the typing of its author. */
  handleMessage(user: User): void {
    this.#endTyping(user);
  }

  /** Without a connection nobody is known to type. */
  handleDown(): void {
    clearTimeout(this.#timer);
    this.#typing = [];
  }

  #endTyping(user: User): void {
    this.#typing = this.#typing.filter((entry) => entry.user.id !== user.id);
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const first = this.#typing[0];
    if (first === undefined) return;
    this.#timer = setTimeout(() => {
      const now = Date.now();
      this.#typing = this.#typing.filter((entry) => entry.until > now);
      this.#schedule();
      this.#changed();
    }, first.until - Date.now());
  }
}

function without(users: readonly User[], user: User): readonly User[] {
  return users.filter((other) => other.id !== user.id);
}

function sorted(users: readonly User[]): readonly User[] {
  return users.toSorted((a, b) => a.username.localeCompare(b.username));
}

const LISTED_MAX = 200;
const TYPING_MS = 6_000;
