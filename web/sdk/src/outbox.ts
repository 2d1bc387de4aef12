/**
 * What this user wants done in one room and the server has not confirmed: messages, edits and
 * deletions, each with a nonce, sent in order with one in flight, and sent again with the same nonce
 * until answered. Kept in the browser's storage, so that a reload while offline loses nothing.
 */
import type { AckFrame, ClientFrame, ErrorFrame, Seq } from "./frames.ts";
import { isPassing } from "./problem.ts";
import { Retry } from "./retry.ts";

export type Deed =
  | { readonly kind: "message"; readonly content: string }
  | { readonly kind: "edit"; readonly ref: Seq; readonly content: string }
  | { readonly kind: "delete"; readonly ref: Seq };

export interface Outgoing {
  readonly nonce: string;
  readonly deed: Deed;
  /** Milliseconds since 1970, by this machine's clock. */
  readonly createdAt: number;
  /** `acked`: durable, but its event has not come yet. `refused` is final. */
  readonly status: "waiting" | "sent" | "acked" | "refused";
  /** The server's code for a refusal. */
  readonly code?: string;
  readonly seq?: Seq;
}

/** What the outbox needs of its room. */
export interface OutboxOwner {
  /** Sends a frame; false when the room is not joined now. The answer goes to `handleAnswer`. */
  sendDeed(frame: (id: number) => ClientFrame, answer: Answer): boolean;
  random(): number;
  changed(): void;
  /** The server said no, for good. */
  refused(item: Outgoing, message: string): void;
}

export type Answer = (frame: AckFrame | ErrorFrame) => void;

export type Keep = Pick<Storage, "getItem" | "setItem" | "removeItem">;

export class Outbox {
  readonly #roomId: number;
  readonly #owner: OutboxOwner;
  readonly #keep: Keep | undefined;
  readonly #key: string;
  #items: readonly Outgoing[] = [];
  readonly #retry: Retry;

  /** `key` names the user in the storage, so that an account never sends another's words. */
  constructor(roomId: number, owner: OutboxOwner, key: string, keep?: Keep) {
    this.#roomId = roomId;
    this.#owner = owner;
    this.#retry = new Retry(() => owner.random());
    this.#keep = keep;
    this.#key = `${key}.${roomId}`;
    this.#items = this.#load();
  }

  get items(): readonly Outgoing[] {
    return this.#items;
  }

  /** Takes a deed; it is tried at once and for as long as it takes. */
  add(deed: Deed): void {
    this.#set([
      ...this.#items,
      { nonce: makeNonce(), deed, createdAt: Date.now(), status: "waiting" },
    ]);
    this.flush();
  }

  /** Tries a refused deed again, as the same one. */
  retry(nonce: string): void {
    this.#update(nonce, ({ code: _, ...item }) => ({ ...item, status: "waiting" }));
    this.flush();
  }

  /** Gives up a deed that was refused. */
  discard(nonce: string): void {
    this.#set(this.#items.filter((item) => item.nonce !== nonce || item.status !== "refused"));
  }

  /** Sends the next deed, unless one is in flight or has to wait. */
  flush(): void {
    if (this.#retry.waiting || this.#items.some((item) => item.status === "sent")) return;
    const next = this.#items.find((item) => item.status === "waiting");
    if (next === undefined) return;
    const answer: Answer = (frame) => this.#handleAnswer(next.nonce, frame);
    if (this.#owner.sendDeed((id) => this.#frame(id, next), answer)) {
      this.#update(next.nonce, (item) => ({ ...item, status: "sent" }));
    }
  }

  /** The room's events are folded up to `applied`: what they show need not be shown as pending. */
  settle(applied: Seq): void {
    const left = this.#items.filter((item) => item.seq === undefined || item.seq > applied);
    if (left.length !== this.#items.length) this.#set(left);
  }

  /** An own message came back as an event: that is an answer too. */
  handleOwn(nonce: string): void {
    if (!this.#items.some((item) => item.nonce === nonce)) return;
    this.#retry.done();
    this.#set(this.#items.filter((item) => item.nonce !== nonce));
    this.flush();
  }

  /** The connection or the room is gone: what was in flight is in doubt and is sent again. */
  handleDown(): void {
    this.#retry.cancel();
    if (!this.#items.some((item) => item.status === "sent")) return;
    this.#set(
      this.#items.map((item) => (item.status === "sent" ? { ...item, status: "waiting" } : item)),
    );
  }

  /** The log was replaced, perhaps by one from before an ack: what is not seen in it is sent again. */
  handleReplaced(): void {
    if (!this.#items.some((item) => item.status === "acked")) return;
    this.#set(
      this.#items.map(({ seq: _, ...item }) => (item.status === "acked" ? { ...item, status: "waiting" } : item)),
    );
    this.flush();
  }

  #handleAnswer(nonce: string, frame: AckFrame | ErrorFrame): void {
    const item = this.#items.find((other) => other.nonce === nonce);
    if (item === undefined || item.status === "refused") return;
    if (frame.type === "ack") {
      this.#retry.done();
      this.#update(nonce, (sent) => ({ ...sent, status: "acked", seq: frame.seq }));
      this.flush();
    } else if (isPassing(frame.code) || frame.code === "not_joined") {
      this.#update(nonce, (sent) => ({ ...sent, status: "waiting" }));
      this.#retry.later(() => this.flush(), frame.retry_after_ms);
    } else {
      const refused: Outgoing = { ...item, status: "refused", code: frame.code };
      // A refused message keeps its text on the screen; a refused change has nothing left to show.
      if (item.deed.kind === "message") this.#update(nonce, () => refused);
      else this.#set(this.#items.filter((other) => other.nonce !== nonce));
      this.#owner.refused(refused, frame.message);
      this.flush();
    }
  }

  #frame(id: number, { deed, nonce }: Outgoing): ClientFrame {
    const room_id = this.#roomId;
    switch (deed.kind) {
      case "message":
        return { type: "message", id, room_id, content: deed.content, nonce };
      case "edit":
        return { type: "edit", id, room_id, ref: deed.ref, content: deed.content, nonce };
      case "delete":
        return { type: "delete", id, room_id, ref: deed.ref, nonce };
    }
  }

  #update(nonce: string, change: (item: Outgoing) => Outgoing): void {
    this.#set(this.#items.map((item) => (item.nonce === nonce ? change(item) : item)));
  }

  #set(items: readonly Outgoing[]): void {
    this.#items = items;
    this.#save();
    this.#owner.changed();
  }

  #load(): readonly Outgoing[] {
    try {
      const items = JSON.parse(this.#keep?.getItem(this.#key) ?? "[]") as readonly Outgoing[];
      return items.map((item) => (item.status === "sent" ? { ...item, status: "waiting" } : item));
    } catch {
      return [];
    }
  }

  #save(): void {
    // The storage may be full or forbidden; then the outbox lives as long as the page.
    try {
      const open = this.#items.filter((item) => item.status !== "acked");
      if (open.length === 0) this.#keep?.removeItem(this.#key);
      else this.#keep?.setItem(this.#key, JSON.stringify(open));
    } catch {
      return;
    }
  }
}

/** 128 random bits. Not `randomUUID`, which a page served over plain HTTP does not have. */
function makeNonce(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
