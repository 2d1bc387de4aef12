/**
 * The rooms this user has walked into, on this browser: they stay joined, show what is unread, and
 * come back after a reload. The server keeps no such list (yet), so the browser's storage does.
 */
import type { ChatClient, RoomStore, Seq } from "chatroom-sdk";
import { recall, remember } from "../../ui/memory.ts";

export interface JoinedRoom {
  readonly id: number;
  /** As last seen. */
  readonly name: string;
  readonly readSeq: Seq;
}

export class JoinedRooms {
  readonly #client: ChatClient;
  readonly #key: string;
  readonly #listeners = new Set<() => void>();
  #rooms: readonly JoinedRoom[];

  constructor(client: ChatClient, userId: number) {
    this.#client = client;
    this.#key = `chatroom.rooms.${userId}`;
    this.#rooms = parse(recall(this.#key));
  }

  /** Calls `listener` after each change until the returned function is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  };

  /** In the order of the first visit. */
  readonly snapshot = (): readonly JoinedRoom[] => this.#rooms;

  /** The room's live state. */
  store(id: number): RoomStore {
    return this.#client.room(id, this.#rooms.find((room) => room.id === id)?.readSeq);
  }

  /** Keeps in mind what is read in a room, and in all those from before, until the returned function is called. */
  follow(visited: number | undefined): () => void {
    const ids = new Set(this.#rooms.map((room) => room.id));
    if (visited !== undefined) ids.add(visited);
    const ends = [...ids].map((id) => {
      const store = this.store(id);
      return store.subscribe(() => {
        const { phase, room, readSeq } = store.snapshot();
        const name = room?.name ?? this.#rooms.find((known) => known.id === id)?.name;
        if (phase === "ready" && name !== undefined) this.#note(id, name, readSeq);
      });
    });
    // Another tab has its say too.
    const stored = (event: StorageEvent) => {
      if (event.key === this.#key) this.#become(parse(event.newValue ?? undefined));
    };
    window.addEventListener("storage", stored);
    return () => {
      window.removeEventListener("storage", stored);
      for (const end of ends) end();
    };
  }

  /** Walks out of a room. */
  leave(id: number): void {
    this.#client.leave(id);
    this.#set(this.#rooms.filter((room) => room.id !== id));
  }

  #note(id: number, name: string, readSeq: Seq): void {
    const known = this.#rooms.find((room) => room.id === id);
    if (known?.name === name && known.readSeq === readSeq) return;
    if (known !== undefined) {
      this.#set(this.#rooms.map((room) => (room.id === id ? { id, name, readSeq } : room)));
      return;
    }
    const oldest = this.#rooms[0];
    if (oldest !== undefined && this.#rooms.length >= ROOMS_MAX) this.leave(oldest.id);
    this.#set([...this.#rooms, { id, name, readSeq }]);
  }

  #set(rooms: readonly JoinedRoom[]): void {
    remember(this.#key, JSON.stringify(rooms));
    this.#become(rooms);
  }

  #become(rooms: readonly JoinedRoom[]): void {
    this.#rooms = rooms;
    for (const listener of this.#listeners) listener();
  }
}

function parse(text: string | undefined): readonly JoinedRoom[] {
  try {
    const value: unknown = JSON.parse(text ?? "[]");
    return Array.isArray(value) ? value.filter(isJoinedRoom).slice(-ROOMS_MAX) : [];
  } catch {
    return [];
  }
}

function isJoinedRoom(value: unknown): value is JoinedRoom {
  if (typeof value !== "object" || value === null) return false;
  const room = value as Record<string, unknown>;
  return Number.isSafeInteger(room["id"]) && typeof room["name"] === "string" && Number.isSafeInteger(room["readSeq"]);
}

/** Far below what a connection may join. */
const ROOMS_MAX = 50;
