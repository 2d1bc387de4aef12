/**
 * The REST endpoints of PROTOCOL.md section 2 that a chat client needs, typed. Each call carries the
 * session's token and is repeated once with a new one when the server finds it expired.
 */
import type { RoomEvent, Seq, User } from "./frames.ts";
import type { Call, Http } from "./http.ts";
import { asProblem } from "./problem.ts";
import type { Session } from "./session.ts";

export interface Room {
  readonly id: number;
  readonly name: string;
  readonly topic?: string;
  /** The creator's user id. */
  readonly created_by: number;
  readonly created_at: string;
  readonly epoch: string;
  readonly last_seq: Seq;
  readonly online: number;
}

/** A message in its folded state: edits applied; as a tombstone `deleted` and no `content`. */
export interface Message {
  readonly room_id: number;
  readonly seq: Seq;
  readonly user: User;
  readonly content?: string;
  readonly nonce?: string;
  readonly created_at: string;
  readonly edited_at?: string;
  readonly deleted?: true;
}

export interface RoomPage {
  readonly rooms: readonly Room[];
  readonly next_cursor?: string;
}

export interface MessagePage {
  readonly messages: readonly Message[];
  /** The last event folded in. */
  readonly seq: Seq;
  readonly epoch: string;
  readonly has_more: boolean;
}

/** A place where the user is signed in. */
export interface SignedIn {
  readonly id: number;
  readonly created_at: string;
  readonly last_used_at: string;
  readonly user_agent?: string;
  /** This very one. */
  readonly current?: boolean;
}

export interface EventPage {
  readonly events: readonly RoomEvent[];
  readonly has_more: boolean;
  readonly epoch: string;
}

export class Api {
  readonly #http: Http;
  readonly #session: Session;

  constructor(http: Http, session: Session) {
    this.#http = http;
    this.#session = session;
  }

  /** Rooms by name; `q` is a part of the name or topic. */
  rooms(query: { q?: string; cursor?: string; limit?: number }, signal?: AbortSignal): Promise<RoomPage> {
    return this.#get(`/rooms${search(query)}`, signal);
  }

  room(id: number): Promise<Room> {
    return this.#get(`/rooms/${id}`);
  }

  /** A taken name is a `conflict`. */
  createRoom(room: { name: string; topic?: string }): Promise<Room> {
    return this.#call({ method: "POST", path: "/rooms", body: room });
  }

  /** The newest page, or the one that ends before `before`. */
  messages(room: number, query: { before?: Seq; limit?: number }): Promise<MessagePage> {
    return this.#get(`/rooms/${room}/messages${search(query)}`);
  }

  /** The log itself, after `after`. */
  events(room: number, query: { after: Seq; limit?: number }): Promise<EventPage> {
    return this.#get(`/rooms/${room}/events${search(query)}`);
  }

  /** Who is in the room; at most 200 are named. */
  online(room: number): Promise<{ readonly online: number; readonly users: readonly User[] }> {
    return this.#get(`/rooms/${room}/online`);
  }

  /** Ends the user's other sessions. A wrong `current` is `forbidden`. */
  changePassword(change: { current: string; new: string }): Promise<void> {
    return this.#call({ method: "POST", path: "/auth/password", body: change });
  }

  /** Where the user is signed in. */
  async sessions(): Promise<readonly SignedIn[]> {
    return (await this.#get<{ sessions: readonly SignedIn[] }>("/sessions")).sessions;
  }

  /** Signs out elsewhere: one session, or all but this one. */
  endSession(id: number | "others"): Promise<void> {
    return this.#call({ method: "DELETE", path: `/sessions/${id}` });
  }

  #get<T>(path: string, signal?: AbortSignal): Promise<T> {
    return this.#call<T>({ method: "GET", path, ...(signal ? { signal } : {}) });
  }

  async #call<T>(call: Call): Promise<T> {
    const token = await this.#session.token();
    try {
      return await this.#http.call<T>({ ...call, token });
    } catch (error) {
      if (asProblem(error).status !== 401) throw error;
      return this.#http.call<T>({ ...call, token: await this.#session.token(0, token) });
    }
  }
}

function search(query: Record<string, string | number | undefined>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "") params.set(name, String(value));
  }
  const text = params.toString();
  return text === "" ? "" : `?${text}`;
}
