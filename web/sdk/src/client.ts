/**
 * The whole of a chat client: the session, the REST calls, the one connection, and the rooms. Routes
 * frames to rooms, joins them all again when a connection comes up, and starts afresh when somebody
 * else signs in.
 */
import { Api } from "./api.ts";
import { Connection } from "./connection.ts";
import type { Surroundings } from "./connection.ts";
import type { ClientFrame, ErrorFrame, JoinRequest, Seq, ServerFrame, User, WelcomeFrame } from "./frames.ts";
import { Http } from "./http.ts";
import type { Fetch } from "./http.ts";
import type { Answer, Keep, Outgoing } from "./outbox.ts";
import { RoomStore } from "./room.ts";
import { Session } from "./session.ts";
import type { Exclusive } from "./session.ts";

export interface ClientOptions extends Surroundings {
  readonly fetch: Fetch;
  /** Scheme, host and port of the server's pages. */
  readonly origin: string;
  readonly exclusive: Exclusive;
  /** Where unsent messages outlive a reload. */
  readonly keep?: Keep;
}

/** Something that the user asked for was refused for good. */
export interface Refusal {
  readonly room: RoomStore;
  readonly item: Outgoing;
  readonly message: string;
}

export class ChatClient {
  readonly session: Session;
  readonly api: Api;
  readonly connection: Connection;
  readonly #keep: Keep | undefined;
  readonly #random: () => number;
  readonly #rooms = new Map<number, RoomStore>();
  /** Answers awaited on the living connection, by the id of what was asked. */
  readonly #asked = new Map<number, Answer>();
  /** Rooms of each `join` frame that are not answered yet. */
  readonly #joins = new Map<number, Map<number, RoomStore>>();
  readonly #refusals = new Set<(refusal: Refusal) => void>();
  #user: User | undefined;

  constructor(options: ClientOptions) {
    const http = new Http(options.fetch, options.origin);
    this.#random = options.random;
    this.#keep = options.keep;
    this.session = new Session(http, options.random, options.exclusive);
    this.api = new Api(http, this.session);
    const url = `${options.origin.replace(/^http/, "ws")}/ws?hb=1`;
    this.connection = new Connection(url, this.session, options, {
      handleUp: (welcome) => this.#handleUp(welcome),
      handleFrame: (frame) => this.#handleFrame(frame),
      handleDown: () => this.#handleDown(),
    });
    this.session.subscribe(() => this.#handleSession());
  }

  /** The room with this id, joined from now on. `readSeq` is the last event read in an earlier visit. */
  room(id: number, readSeq: Seq = 0): RoomStore {
    const known = this.#rooms.get(id);
    if (known !== undefined) return known;
    const room = new RoomStore(id, this.#roomOwner(), readSeq);
    this.#rooms.set(id, room);
    this.#join([room]);
    return room;
  }

  /** Leaves a room and forgets what was known of it. */
  leave(id: number): void {
    this.#rooms.get(id)?.dispose();
    if (this.#rooms.delete(id)) {
      this.connection.send({ type: "leave", id: this.connection.nextId(), room_id: id });
    }
  }

  /** Calls `listener` for each refusal until the returned function is called. */
  onRefusal(listener: (refusal: Refusal) => void): () => void {
    this.#refusals.add(listener);
    return () => {
      this.#refusals.delete(listener);
    };
  }

  #handleSession(): void {
    const user = this.session.user;
    if (user?.id === this.#user?.id) return;
    this.#user = user;
    this.connection.stop();
    this.#forgetAsked();
    for (const room of this.#rooms.values()) room.dispose();
    this.#rooms.clear();
    if (user !== undefined) this.connection.start();
  }

  #handleUp(_: WelcomeFrame): void {
    this.#join([...this.#rooms.values()]);
  }

  #handleDown(): void {
    this.#forgetAsked();
    for (const room of this.#rooms.values()) room.handleDown();
  }

  #handleFrame(frame: ServerFrame): void {
    switch (frame.type) {
      case "joined":
        this.#joins.get(frame.id ?? -1)?.delete(frame.room_id);
        this.#rooms.get(frame.room_id)?.handleJoined(frame);
        break;
      case "message":
      case "edit":
      case "delete":
        this.#rooms.get(frame.room_id)?.handleEvent(frame);
        break;
      case "ack":
        this.#answer(frame.id, frame);
        break;
      case "error":
        this.#handleError(frame);
        break;
      case "presence":
        this.#rooms.get(frame.room_id)?.handlePresence(frame);
        break;
      case "typing":
        this.#rooms.get(frame.room_id)?.handleTyping(frame.user);
        break;
      case "gap":
        this.#rooms.get(frame.room_id)?.handleGap(frame.to);
        break;
      case "left":
        this.#rooms.get(frame.room_id)?.handleLeft(frame.reason);
        break;
      case "welcome":
      case "ok":
      case "pong":
      case "ping":
      case "bye":
        break;
    }
  }

  /** An error of a join names its room, unless the whole frame was refused. */
  #handleError(frame: ErrorFrame): void {
    const joining = this.#joins.get(frame.id ?? -1);
    if (joining === undefined) {
      this.#answer(frame.id, frame);
      return;
    }
    for (const [id, room] of joining) {
      if (frame.room_id !== undefined && frame.room_id !== id) continue;
      joining.delete(id);
      room.handleJoinError(frame);
    }
  }

  #answer(id: number | undefined, frame: Parameters<Answer>[0]): void {
    if (id === undefined) return;
    const answer = this.#asked.get(id);
    this.#asked.delete(id);
    answer?.(frame);
  }

  #join(rooms: readonly RoomStore[]): void {
    if (this.connection.snapshot().phase !== "open") return;
    const wanted = rooms.filter((room) => room.wanted);
    for (let from = 0; from < wanted.length; from += JOIN_MAX) {
      const some = wanted.slice(from, from + JOIN_MAX);
      const requests: JoinRequest[] = some.map((room) => room.joinRequest());
      const id = this.connection.nextId();
      for (const [asked, left] of this.#joins) if (left.size === 0) this.#joins.delete(asked);
      this.#joins.set(id, new Map(some.map((room) => [room.id, room])));
      this.connection.send({ type: "join", id, rooms: requests });
    }
  }

  #forgetAsked(): void {
    this.#asked.clear();
    this.#joins.clear();
  }

  #roomOwner() {
    return {
      api: this.api,
      keep: this.#keep,
      me: () => this.session.user,
      random: this.#random,
      join: (room: RoomStore) => this.#join([room]),
      send: (frame: ClientFrame) => this.connection.send(frame),
      ask: (frame: (id: number) => ClientFrame, answer: Answer) => {
        const id = this.connection.nextId();
        if (!this.connection.send(frame(id))) return false;
        this.#asked.set(id, answer);
        return true;
      },
      refused: (room: RoomStore, item: Outgoing, message: string) => {
        for (const listener of this.#refusals) listener({ room, item, message });
      },
    };
  }
}

/** Rooms a `join` frame may name. */
const JOIN_MAX = 100;
