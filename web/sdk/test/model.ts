/**
 * A server in miniature that keeps the promises of PROTOCOL.md section 4 and uses every liberty they
 * leave: frames get lost with their connection, slow readers get gaps, old positions are too far,
 * answers come late or not at all. One room, one client, one other user; all chance from one seed.
 */
import type { Message } from "../src/api.ts";
import type { RoomEvent, User } from "../src/frames.ts";
import { ben, World } from "./harness.ts";
import type { FakeSocket, Reply, Request, Sent } from "./harness.ts";

/** mulberry32: small, and the same everywhere. */
export function makeRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

interface Line {
  readonly socket: FakeSocket;
  /** Frames of the client that were read. */
  read: number;
  joined: boolean;
  /** What the client has not taken yet. */
  queue: Record<string, unknown>[];
}

export class Model {
  readonly world: World;
  readonly #random: () => number;
  log: RoomEvent[] = [];
  epoch = "e1";
  /** No more harm from here on. */
  calm = false;
  #line: Line | undefined;

  constructor(random: () => number) {
    this.#random = random;
    this.world = new World();
    this.world.answer = (request) => this.#answer(request);
  }

  chance(probability: number): boolean {
    return this.#random() < probability;
  }

  below(count: number): number {
    return Math.floor(this.#random() * count);
  }

  /** What every reader must end up with. */
  folded(): Message[] {
    const messages = new Map<number, Message>();
    for (const event of this.log) {
      if (event.type === "message") {
        const { type: _, ...message } = event;
        messages.set(event.seq, message);
        continue;
      }
      const old = messages.get(event.ref);
      if (old === undefined || old.deleted) continue;
      const { room_id, seq, user, created_at } = old;
      messages.set(
        event.ref,
        event.type === "edit" && event.content !== undefined
          ? { ...old, content: event.content, edited_at: event.created_at }
          : { room_id, seq, user, created_at, deleted: true },
      );
    }
    return [...messages.values()];
  }

  /** Takes up a new connection, reads what the client sent, and lets it take some of what waits. */
  turn(): void {
    const socket = this.world.sockets.at(-1);
    if (socket !== undefined && socket !== this.#line?.socket && !socket.closed) {
      this.#line = { socket, read: 0, joined: false, queue: [] };
      socket.open();
    }
    const line = this.#line;
    if (line === undefined) return;
    if (line.socket.closed) {
      this.#line = undefined;
      return;
    }
    while (line.read < line.socket.sent.length && (this.calm || this.chance(0.8))) {
      this.#handle(line, line.socket.sent[line.read] ?? {});
      line.read += 1;
    }
    if (this.calm) line.queue.push({ type: "ping" });
    while (line.queue.length > 0 && !line.socket.closed && (this.calm || this.chance(0.8))) {
      line.socket.say(line.queue.shift() ?? {});
    }
  }

  /** Somebody else does something. */
  stir(): void {
    const target = this.log[this.below(this.log.length)];
    const roll = this.#random();
    if (roll < 0.7 || target?.type !== "message") this.append(ben, { type: "message", content: `b${this.log.length}` });
    else this.append(ben, { type: roll < 0.85 ? "edit" : "delete", ref: target.seq, content: `e${this.log.length}` });
  }

  /** The connection breaks; what was on its way in either direction is lost. */
  cut(): void {
    this.#line?.socket.end(1006);
    this.#line = undefined;
  }

  /** The reader was too slow: a gap takes the place of the events that wait. */
  skip(): void {
    const line = this.#line;
    if (line === undefined) return;
    const events = line.queue.filter((frame) => typeof frame["seq"] === "number" && frame["type"] !== "ack" && frame["type"] !== "joined");
    const first = events[0];
    const last = events.at(-1);
    if (first === undefined || last === undefined) return;
    const at = line.queue.indexOf(first);
    line.queue = line.queue.filter((frame) => !events.includes(frame));
    line.queue.splice(at, 0, { type: "gap", room_id: 7, from: first["seq"], to: last["seq"] });
  }

  /** The log is replaced by an older copy of itself. */
  restore(): void {
    this.log = this.log.slice(0, this.below(this.log.length));
    this.epoch = `${this.epoch}'`;
    this.cut();
  }

  append(user: User, frame: Sent): Sent {
    const nonce = frame["nonce"] as string | undefined;
    const known = this.#nonces.get(`${user.id} ${nonce}`);
    if (nonce !== undefined && known !== undefined && known.epoch === this.epoch) {
      return { type: "ack", seq: known.seq, duplicate: true };
    }
    const target = this.log.find((event) => event.seq === frame["ref"]);
    if (frame["type"] !== "message") {
      if (target?.type !== "message") return { type: "error", code: "not_found", message: "" };
      if (target.user.id !== user.id) return { type: "error", code: "forbidden", message: "" };
      const gone = this.log.find((event) => event.type === "delete" && event.ref === target.seq);
      if (gone !== undefined) {
        return frame["type"] === "edit"
          ? { type: "error", code: "conflict", message: "" }
          : { type: "ack", seq: gone.seq, duplicate: true };
      }
    }
    const seq = this.log.length + 1;
    const { type, content, ref } = frame;
    const event = {
      type,
      room_id: 7,
      seq,
      user,
      created_at: new Date(Date.now()).toISOString(),
      ...(type === "delete" ? {} : { content }),
      ...(type === "message" ? (nonce === undefined ? {} : { nonce }) : { ref }),
    } as unknown as RoomEvent;
    this.log.push(event);
    this.#nonces.set(`${user.id} ${nonce}`, { epoch: this.epoch, seq });
    if (this.#line?.joined) this.#line.queue.push(event as unknown as Sent);
    return { type: "ack", seq };
  }

  readonly #nonces = new Map<string, { epoch: string; seq: number }>();

  #handle(line: Line, frame: Sent): void {
    const answer = (more: Sent) => line.queue.push({ id: frame["id"], room_id: 7, ...more });
    switch (frame["type"]) {
      case "auth":
        line.queue.push(this.world.welcome());
        break;
      case "join":
        this.#join(line, frame);
        break;
      case "ping":
        line.queue.push({ type: "pong" });
        break;
      case "message":
      case "edit":
      case "delete":
        if (!this.calm && this.chance(0.15)) {
          // Unknown: it may have been stored all the same.
          if (this.chance(0.5)) this.append(this.world.user, frame);
          answer({ type: "error", code: "unavailable", message: "", retry_after_ms: this.below(2_000) });
        } else {
          const reply = this.append(this.world.user, frame);
          // Before or after its own event.
          if (reply["type"] === "ack" && this.chance(0.5)) {
            line.queue.splice(Math.max(0, line.queue.length - 1), 0, { id: frame["id"], room_id: 7, ...reply });
          } else answer(reply);
        }
        break;
      default:
        break;
    }
  }

  #join(line: Line, frame: Sent): void {
    const [room] = frame["rooms"] as { since?: number; epoch?: string }[];
    line.joined = true;
    // Joining again starts the room anew.
    line.queue = line.queue.filter((old) => typeof old["seq"] !== "number" || old["type"] === "ack");
    const head = this.log.length;
    const joined = { type: "joined", id: frame["id"], room_id: 7, epoch: this.epoch, seq: head, online: 2 };
    const since = room?.since;
    if (since === undefined) {
      line.queue.push(joined);
    } else if (room?.epoch !== this.epoch || since > head) {
      line.queue.push({ ...joined, resumed: false, reason: "epoch" });
    } else if (head - since > REPLAY_MAX) {
      line.queue.push({ ...joined, resumed: false, reason: "too_far" });
    } else {
      line.queue.push({ ...joined, resumed: true, replay: head - since });
      line.queue.push(...(this.log.slice(since) as unknown as Sent[]));
    }
  }

  /** Reads now, answers later. */
  async #answer({ path }: Request): Promise<Reply> {
    const reply = this.#read(path);
    if (!this.calm) await new Promise((resolve) => void setTimeout(resolve, this.below(3_000)));
    return reply;
  }

  #read(path: string): Reply {
    if (!this.calm && this.chance(0.2)) return this.chance(0.5) ? { status: 0 } : { status: 503, body: { code: "unavailable" } };
    const query = new URLSearchParams(path.split("?")[1]);
    const head = { seq: this.log.length, epoch: this.epoch };
    if (path.includes("/events")) {
      const events = this.log.slice(Number(query.get("after"))).slice(0, 7);
      return { body: { events, has_more: Number(query.get("after")) + 7 < this.log.length, epoch: this.epoch } };
    }
    if (!path.includes("/messages")) return { status: 503 };
    const all = this.folded().filter((message) => message.seq < Number(query.get("before") ?? Number.MAX_SAFE_INTEGER));
    return { body: { messages: all.slice(-10), has_more: all.length > 10, ...head } };
  }
}

const REPLAY_MAX = 12;
