/**
 * One room as a client has it: its timeline, presence and outbox, and the rules that keep them right
 * over lost connections: resume with `since` and `epoch`, reload where the server cannot replay,
 * fetch what a `gap` names. Views read immutable snapshots.
 */
import type { Api, Message, Room } from "./api.ts";
import type {
  ClientFrame,
  ErrorFrame,
  JoinedFrame,
  JoinRequest,
  PresenceFrame,
  RoomEvent,
  Seq,
  User,
} from "./frames.ts";
import { Outbox } from "./outbox.ts";
import type { Answer, Deed, Keep, Outgoing } from "./outbox.ts";
import { Presence } from "./presence.ts";
import { asProblem, isPassing } from "./problem.ts";
import type { Problem } from "./problem.ts";
import { Retry } from "./retry.ts";
import { Store } from "./store.ts";
import { Timeline } from "./timeline.ts";

export interface RoomSnapshot {
  /** `loading` until the first page is here; `gone` when there is no such room for this user. */
  readonly phase: "loading" | "ready" | "gone";
  /** Why loading takes long. */
  readonly problem?: Problem;
  readonly room?: Room;
  /** Ascending by seq, without a hole. */
  readonly messages: readonly Message[];
  /** Own messages, edits and deletions that are not in `messages` yet, in order. */
  readonly outgoing: readonly Outgoing[];
  readonly hasOlder: boolean;
  readonly loadingOlder: boolean;
  /** Whether events arrive as they happen. */
  readonly live: boolean;
  readonly online: number;
  /** Absent in a room too large for a list. */
  readonly users?: readonly User[];
  readonly typing: readonly User[];
  /** The last event that was read. */
  readonly readSeq: Seq;
  /** Messages of others after it, as far as they are known. */
  readonly unread: number;
  /** There are more of them than `unread` counts. */
  readonly unreadMore: boolean;
}

/** What a room needs of its client. */
export interface RoomOwner {
  readonly api: Api;
  readonly keep: Keep | undefined;
  me(): User | undefined;
  random(): number;
  /** Joins or joins again, when there is a connection. */
  join(room: RoomStore): void;
  send(frame: ClientFrame): boolean;
  ask(frame: (id: number) => ClientFrame, answer: Answer): boolean;
  refused(room: RoomStore, item: Outgoing, message: string): void;
}

export class RoomStore extends Store<RoomSnapshot> {
  readonly id: number;
  readonly #owner: RoomOwner;
  readonly #timeline = new Timeline();
  readonly #presence: Presence;
  readonly #outbox: Outbox;

  #phase: RoomSnapshot["phase"] = "loading";
  #problem: Problem | undefined;
  #room: Room | undefined;
  #membership: "out" | "asking" | "in" = "out";
  /** The epoch that the living connection joined. */
  #joinedEpoch: string | undefined;
  /** The last epoch heard of. */
  #epoch: string | undefined;
  /** Somebody looks at the messages. */
  #open = false;
  /** A page of messages was loaded; without one only what happens from now on is known. */
  #paged = false;
  #reading = false;
  #filling = false;
  #loadingOlder = false;
  readonly #joinRetry: Retry;
  readonly #readRetry: Retry;
  readonly #fillRetry: Retry;
  #typedAt = 0;
  #readSeq: Seq;
  #unreadMore = false;
  #disposed = false;

  constructor(id: number, owner: RoomOwner, readSeq: Seq) {
    super();
    this.id = id;
    this.#owner = owner;
    this.#readSeq = readSeq;
    const random = () => owner.random();
    this.#joinRetry = new Retry(random);
    this.#readRetry = new Retry(random);
    this.#fillRetry = new Retry(random);
    this.#presence = new Presence(() => this.changed());
    const key = `chatroom.outbox.${owner.me()?.id ?? 0}`;
    this.#outbox = new Outbox(id, this.#outboxOwner(), key, owner.keep);
  }

  protected override compose(): RoomSnapshot {
    const me = this.#owner.me()?.id;
    const { messages, hasOlder } = this.#timeline;
    const users = this.#presence.users;
    const unread = messages.filter(
      (message) => message.seq > this.#readSeq && message.user.id !== me && !message.deleted,
    ).length;
    return {
      phase: this.#phase,
      ...(this.#problem ? { problem: this.#problem } : {}),
      ...(this.#room ? { room: this.#room } : {}),
      messages,
      outgoing: this.#outbox.items,
      hasOlder,
      loadingOlder: this.#loadingOlder,
      live: this.#membership === "in" && this.#timeline.ready && this.#timeline.missing === 0,
      online: this.#presence.online,
      ...(users ? { users } : {}),
      typing: this.#presence.typing,
      readSeq: this.#readSeq,
      unread,
      unreadMore: this.#unreadMore,
    };
  }

  // What a view does.

  /** Loads the newest messages and keeps them up to date. */
  open(): void {
    this.#open = true;
    if (!this.#paged) this.#reload();
    if (this.#membership === "out") this.#owner.join(this);
    this.#loadRoom();
    this.#listOnline();
  }

  /** Nobody looks any more; the room stays joined, for its unread count. */
  close(): void {
    this.#open = false;
    if (this.#timeline.trim(KEPT)) this.changed();
  }

  /** Loads the page before the oldest message. */
  loadOlder(): void {
    if (this.#loadingOlder || !this.#paged || !this.#timeline.hasOlder) return;
    this.#loadingOlder = true;
    this.#problem = undefined;
    this.changedNow();
    void this.#readOlder();
  }

  /** Lets go of old messages that nobody sees: call when the newest are on the screen. */
  trim(): void {
    if (this.#timeline.trim(SHOWN_MAX)) this.changed();
  }

  send(content: string): void {
    this.#typedAt = 0;
    this.#outbox.add({ kind: "message", content });
  }

  edit(ref: Seq, content: string): void {
    this.#outbox.add({ kind: "edit", ref, content });
  }

  delete(ref: Seq): void {
    this.#outbox.add({ kind: "delete", ref });
  }

  /** Tries a refused message again. */
  retry(nonce: string): void {
    this.#outbox.retry(nonce);
  }

  /** Gives up a refused message. */
  discard(nonce: string): void {
    this.#outbox.discard(nonce);
  }

  /** Says that the user is typing; as often as the server passes it on. */
  typing(): void {
    const now = Date.now();
    if (this.#membership !== "in" || now - this.#typedAt < TYPING_EVERY_MS) return;
    if (this.#owner.send({ type: "typing", room_id: this.id })) this.#typedAt = now;
  }

  /** Everything up to the newest event was seen. */
  markRead(): void {
    if (!this.#paged || (this.#readSeq >= this.#timeline.applied && !this.#unreadMore)) return;
    this.#readSeq = Math.max(this.#readSeq, this.#timeline.applied);
    this.#unreadMore = false;
    this.changedNow();
  }

  // What the connection brings; called by the client.

  /** What to ask for in a `join` frame; marks the room as asking. */
  joinRequest(): JoinRequest {
    this.#membership = "asking";
    const { ready, applied, epoch } = this.#timeline;
    if (!ready || epoch === undefined) return { room_id: this.id };
    return { room_id: this.id, since: applied, epoch };
  }

  /** Whether a connection that comes up joins this room. */
  get wanted(): boolean {
    return this.#phase !== "gone" && !this.#disposed;
  }

  handleJoined(frame: JoinedFrame): void {
    this.#membership = "in";
    this.#joinedEpoch = frame.epoch;
    this.#joinRetry.done();
    this.#presence.handleJoined(frame.online);
    this.#noteEpoch(frame.epoch);
    // A page that was read before the log was replaced may have come since the join was sent.
    const fits = !this.#timeline.ready || frame.epoch === this.#timeline.epoch;
    if (frame.resumed !== true || !fits) this.#handleNotResumed(frame);
    this.#listOnline();
    this.#outbox.flush();
    this.changedNow();
  }

  handleJoinError(frame: ErrorFrame): void {
    this.#membership = "out";
    if (isPassing(frame.code)) {
      this.#joinRetry.later(() => this.#owner.join(this), frame.retry_after_ms);
    } else if (frame.code === "not_found" || frame.code === "forbidden") {
      this.#vanish();
    }
  }

  handleEvent(event: RoomEvent): void {
    if (!this.#timeline.push(event)) return;
    this.#handleFolded(event);
    if (this.#timeline.missing > 0) void this.#fill();
    this.changed();
  }

  handleGap(to: Seq): void {
    this.#timeline.expect(to);
    void this.#fill();
  }

  handlePresence(frame: PresenceFrame): void {
    this.#presence.handlePresence(frame);
    this.changed();
  }

  handleTyping(user: User): void {
    if (user.id === this.#owner.me()?.id) return;
    this.#presence.handleTyping(user);
    this.changed();
  }

  handleLeft(reason: string | undefined): void {
    this.#membership = "out";
    this.#outbox.handleDown();
    if (reason === "epoch") this.#owner.join(this);
    else if (reason !== undefined) this.#vanish();
  }

  /** The connection is gone. */
  handleDown(): void {
    this.#membership = "out";
    this.#joinedEpoch = undefined;
    this.#joinRetry.cancel();
    this.#presence.handleDown();
    this.#outbox.handleDown();
    this.changedNow();
  }

  /** The client forgets this room. */
  dispose(): void {
    this.#disposed = true;
    for (const retry of [this.#joinRetry, this.#readRetry, this.#fillRetry]) retry.cancel();
    this.#presence.handleDown();
    this.#outbox.handleDown();
  }

  // How it stays right.

  /** The join brought no replay: nothing was asked for, or the server cannot go back that far. */
  #handleNotResumed(frame: JoinedFrame): void {
    if (!this.#open) {
      this.#unreadMore ||= frame.seq > this.#readSeq;
      this.#paged = false;
      this.#phase = "loading";
      this.#timeline.startAt(frame.seq, frame.epoch);
    } else if (frame.resumed === false || !this.#timeline.ready) {
      this.#timeline.suspend(frame.seq, frame.epoch);
      this.#reload();
    } else if (frame.epoch !== this.#timeline.epoch) {
      this.#owner.join(this);
    } else {
      // The first page came while the join was on its way.
      this.#timeline.expect(frame.seq);
      void this.#fill();
    }
  }

  #noteEpoch(epoch: string): void {
    if (this.#epoch !== undefined && this.#epoch !== epoch) this.#outbox.handleReplaced();
    this.#epoch = epoch;
  }

  #handleFolded(event: RoomEvent): void {
    if (event.type === "message") {
      this.#presence.handleMessage(event.user);
      if (event.nonce !== undefined && event.user.id === this.#owner.me()?.id) {
        this.#outbox.handleOwn(event.nonce);
      }
    }
    this.#outbox.settle(this.#timeline.applied);
    this.#timeline.trim(this.#open ? READ_MAX : KEPT);
  }

  #reload(): void {
    if (this.#reading || this.#disposed) return;
    this.#reading = true;
    void this.#read();
  }

  /** Takes the newest page in the place of what is there, and goes on live from its seq. */
  async #read(): Promise<void> {
    try {
      const page = await this.#owner.api.messages(this.id, { limit: PAGE });
      this.#reading = false;
      if (this.#disposed) return;
      this.#readRetry.done();
      this.#noteEpoch(page.epoch);
      this.#timeline.reset(page);
      this.#paged = true;
      this.#unreadMore = page.has_more && this.#readSeq < (page.messages[0]?.seq ?? 0);
      this.#phase = "ready";
      this.#problem = undefined;
      this.#outbox.settle(this.#timeline.applied);
      // The log was replaced between the join and the page, or the other way round.
      if (this.#joinedEpoch !== undefined && page.epoch !== this.#joinedEpoch) {
        this.#owner.join(this);
      }
      void this.#fill();
      this.changedNow();
    } catch (error) {
      this.#reading = false;
      this.#handleTrouble(error, this.#readRetry, () => this.#reload());
    }
  }

  /** Fetches the events that the connection did not bring. */
  async #fill(): Promise<void> {
    if (this.#filling) return;
    this.#filling = true;
    try {
      while (this.#timeline.missing > 0 && !this.#disposed) {
        if (this.#timeline.missing > FILL_MAX) {
          this.#reload();
          break;
        }
        const before = this.#timeline.applied;
        const page = await this.#owner.api.events(this.id, { after: before, limit: FILL_PAGE });
        if (page.epoch !== this.#timeline.epoch) {
          this.#owner.join(this);
          break;
        }
        this.#problem = undefined;
        for (const event of page.events) {
          if (this.#timeline.push(event)) this.#handleFolded(event);
        }
        this.changed();
        if (this.#timeline.applied === before) {
          // Said to exist, and not kept: what is folded in the newest page is all there is.
          this.#fillRetry.later(() => this.#reload());
          break;
        }
        this.#fillRetry.done();
      }
    } catch (error) {
      this.#handleTrouble(error, this.#fillRetry, () => void this.#fill());
    } finally {
      this.#filling = false;
    }
  }

  async #readOlder(): Promise<void> {
    const before = this.#timeline.beginOlder();
    try {
      const page = await this.#owner.api.messages(this.id, { before, limit: PAGE });
      this.#timeline.prepend(page);
    } catch (error) {
      this.#problem = asProblem(error);
    } finally {
      this.#loadingOlder = false;
      this.changedNow();
    }
  }

  #loadRoom(): void {
    this.#owner.api.room(this.id).then(
      (room) => {
        this.#room = room;
        this.changed();
      },
      // The page of messages meets the same trouble, and shows it.
      () => undefined,
    );
  }

  /** A large room's names do not come by themselves. */
  #listOnline(): void {
    if (!this.#open || this.#membership !== "in" || this.#presence.online <= LISTED_MAX) return;
    this.#owner.api.online(this.id).then(
      ({ online, users }) => {
        this.#presence.handleListed(online, users);
        this.changed();
      },
      () => undefined,
    );
  }

  #handleTrouble(error: unknown, retry: Retry, again: () => void): void {
    if (this.#disposed) return;
    const problem = asProblem(error);
    if (problem.status === 404 || problem.status === 403) {
      this.#vanish();
    } else if (problem.status !== 401) {
      this.#problem = problem;
      retry.later(again, problem.retryAfterMs);
      this.changed();
    }
  }

  #vanish(): void {
    this.#phase = "gone";
    this.changedNow();
  }

  #outboxOwner() {
    return {
      sendDeed: (frame: (id: number) => ClientFrame, answer: Answer) =>
        this.#membership === "in" &&
        this.#owner.ask(frame, (reply) => {
          answer(reply);
          if (reply.type === "ack") {
            this.#outbox.settle(this.#timeline.applied);
          } else if (reply.code === "not_joined" && this.#membership === "in") {
            this.#membership = "out";
            this.#owner.join(this);
          }
        }),
      random: () => this.#owner.random(),
      changed: () => this.changedNow(),
      refused: (item: Outgoing, message: string) => this.#owner.refused(this, item, message),
    };
  }
}

/** What a view can ask of a room's outbox, for those who write their own. */
export type { Deed, Outgoing };

const PAGE = 50;
const FILL_PAGE = 200;
/** Beyond the server's own replay limit the newest page is the shorter way. */
const FILL_MAX = 1_000;
/** Messages kept of a room that nobody looks at. */
const KEPT = 100;
/** Messages kept below which the screen never shows a difference. */
const SHOWN_MAX = 300;
/** Messages kept while somebody reads far back in a room that goes on talking. */
const READ_MAX = 10_000;
const LISTED_MAX = 200;
const TYPING_EVERY_MS = 3_000;
