/**
 * A client whose every word a test hears and answers: sockets and requests are the seam, time is
 * vitest's, chance is a number.
 */
import { vi } from "vitest";
import { ChatClient } from "../src/client.ts";
import type { Socket } from "../src/connection.ts";
import type { Message, MessagePage } from "../src/api.ts";
import type { RoomEvent, ServerFrame, User } from "../src/frames.ts";
import type { Keep } from "../src/outbox.ts";

export const ada: User = { id: 1, username: "ada" };
export const ben: User = { id: 2, username: "ben" };
export const EPOCH = "e1";

/** What the client sent, as JSON. */
export type Sent = Record<string, unknown>;

export class FakeSocket {
  readonly url: string;
  readonly sent: Sent[] = [];
  closed = false;
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;

  constructor(url: string) {
    this.url = url;
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Sent);
  }

  close(): void {
    this.closed = true;
  }

  /** The handshake succeeds. */
  open(): void {
    this.#fire(this.onopen, {});
  }

  /** The server sends a frame. */
  say(frame: ServerFrame | Record<string, unknown>): void {
    this.#fire(this.onmessage, { data: JSON.stringify(frame) });
  }

  /** The server, or the network, ends it. */
  end(code: number): void {
    this.#fire(this.onclose, { code });
  }

  /** Frames of one type that the client sent. */
  of(type: string): Sent[] {
    return this.sent.filter((frame) => frame["type"] === type);
  }

  #fire(handler: unknown, event: unknown): void {
    if (typeof handler === "function") (handler as (event: unknown) => void).call(this, event);
  }
}

export interface Request {
  readonly method: string;
  /** Below `/api/v1`, with its query. */
  readonly path: string;
  readonly token: string | undefined;
  readonly body: Sent;
}

/** An answer to a request: a body, or a status with a problem code. */
export type Reply = { readonly status?: number; readonly body?: unknown; readonly headers?: Record<string, string> };

export class World {
  readonly sockets: FakeSocket[] = [];
  readonly requests: Request[] = [];
  readonly events = new EventTarget();
  readonly client: ChatClient;
  /** Answers all requests but those for tokens; a test puts its own here. */
  answer: (request: Request) => Reply | Promise<Reply> = () => ({ status: 404 });
  /** Answers `/auth/refresh`. */
  refresh: () => Reply | Promise<Reply> = () => ({ body: this.tokens() });
  user = ada;
  lifeS = 900;
  chance = 0.5;
  offline = false;
  #tokens = 0;

  constructor(keep?: Keep) {
    this.client = new ChatClient({
      origin: "http://chat.test",
      fetch: (url, init) => this.#fetch(url, init),
      openSocket: (url) => {
        const socket = new FakeSocket(url);
        this.sockets.push(socket);
        return socket;
      },
      random: () => this.chance,
      events: this.events,
      isOffline: () => this.offline,
      exclusive: (work) => work(),
      ...(keep ? { keep } : {}),
    });
  }

  /** The newest socket. */
  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (socket === undefined) throw new Error("no socket was opened");
    return socket;
  }

  /** A new pair: the access tokens are t1, t2, … */
  tokens() {
    this.#tokens += 1;
    return { user: this.user, access_token: `t${this.#tokens}`, token_type: "Bearer", expires_in: this.lifeS };
  }

  /** Signs in by the cookie and opens the first connection. */
  async start(): Promise<FakeSocket> {
    this.client.session.restore();
    await settle();
    return this.greet();
  }

  /** The newest socket opens and is welcomed. */
  async greet(): Promise<FakeSocket> {
    this.socket.open();
    this.socket.say(this.welcome());
    await settle();
    return this.socket;
  }

  welcome() {
    return {
      type: "welcome",
      user: this.user,
      protocol: 1,
      server: "test",
      session: "s",
      heartbeat_s: 25,
      expires_in: this.lifeS,
      features: [],
      limits: { content: 4000, frame: 65_536, rooms: 256, replay: 1000 },
    };
  }

  /** Paths that were asked for, by method. */
  asked(method: string): string[] {
    return this.requests.filter((request) => request.method === method).map((request) => request.path);
  }

  async #fetch(url: RequestInfo | URL, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    const request: Request = {
      method: init.method ?? "GET",
      path: String(url).replace("http://chat.test/api/v1", ""),
      token: headers.get("authorization")?.replace("Bearer ", ""),
      body: JSON.parse(typeof init.body === "string" ? init.body : "{}") as Sent,
    };
    this.requests.push(request);
    const reply = await (request.path === "/auth/refresh" ? this.refresh() : this.answer(request));
    const status = reply.status ?? 200;
    if (status === 0) throw new TypeError("network");
    const problem = status >= 400 ? { status, ...(reply.body as object) } : reply.body;
    return new Response(status === 204 ? null : JSON.stringify(problem), {
      status,
      headers: reply.headers ?? {},
    });
  }
}

/** Lets promises run, and with them whatever waits for no time at all. */
export async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

export async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

export function said(seq: number, user: User = ben, more: Partial<RoomEvent> = {}): RoomEvent {
  const event = { type: "message", room_id: 7, seq, user, content: `m${seq}`, created_at: AT, ...more };
  return event as RoomEvent;
}

export function edited(seq: number, ref: number, content: string, user: User = ben): RoomEvent {
  return { type: "edit", room_id: 7, seq, ref, user, content, created_at: AT };
}

export function deleted(seq: number, ref: number, user: User = ben): RoomEvent {
  return { type: "delete", room_id: 7, seq, ref, user, created_at: AT };
}

/** A page of plain messages. */
export function page(seqs: readonly number[], seq = seqs.at(-1) ?? 0, more: Partial<MessagePage> = {}): MessagePage {
  const messages = seqs.map((one): Message => ({
    room_id: 7,
    seq: one,
    user: ben,
    content: `m${one}`,
    created_at: AT,
  }));
  return { messages, seq, epoch: EPOCH, has_more: (seqs[0] ?? 1) > 1, ...more };
}

/** A storage of one's own. */
export function makeKeep(): Keep & { readonly all: Map<string, string> } {
  const all = new Map<string, string>();
  return {
    all,
    getItem: (key) => all.get(key) ?? null,
    setItem: (key, value) => void all.set(key, value),
    removeItem: (key) => void all.delete(key),
  };
}

const AT = "2026-11-24T10:00:00.000Z";
