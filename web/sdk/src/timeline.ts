/**
 * The messages of one room as its log has made them: events folded in `seq` order, each exactly once.
 * Pure: pages and events go in, in whatever order and number the network brings them; whoever owns
 * the timeline asks `missing` and fetches.
 */
import type { Message, MessagePage } from "./api.ts";
import type { RoomEvent, Seq } from "./frames.ts";

export class Timeline {
  /** Ascending by seq. */
  #messages: Message[] = [];
  #shown: readonly Message[] | undefined;
  /** The last event folded in; all up to it are. */
  #applied: Seq = 0;
  /** The last event known to exist that the connection will not bring by itself. */
  #head: Seq = 0;
  #epoch: string | undefined;
  /** Whether there is a folded state to go on from. */
  #ready = false;
  #hasOlder = false;
  /** Events that came before an earlier one did. */
  readonly #ahead = new Map<Seq, RoomEvent>();
  /** Changes since a page of history was asked for: it may have been read before them. */
  #changes: RoomEvent[] | undefined;

  /** An immutable view; the same array until a message changes. */
  get messages(): readonly Message[] {
    this.#shown ??= this.#messages.slice();
    return this.#shown;
  }

  get applied(): Seq {
    return this.#applied;
  }

  get epoch(): string | undefined {
    return this.#epoch;
  }

  get ready(): boolean {
    return this.#ready;
  }

  get hasOlder(): boolean {
    return this.#hasOlder;
  }

  /** How many events lie between what is folded and what is known to exist: to be fetched. */
  get missing(): number {
    return this.#ready ? Math.max(0, this.#head - this.#applied) : 0;
  }

  /** Starts at the head of a room whose messages nobody has asked for yet. */
  startAt(seq: Seq, epoch: string): void {
    this.#restart(epoch);
    this.#messages = [];
    this.#hasOlder = seq > 0;
    this.#arrive(seq);
  }

  /** Takes the newest page in the place of all that was there. */
  reset(page: MessagePage): void {
    if (page.epoch !== this.#epoch) this.#restart(page.epoch);
    // A page read before what was already folded must not take the timeline back for good.
    else this.expect(this.#applied);
    this.#messages = [...page.messages];
    this.#hasOlder = page.has_more;
    this.#changes = undefined;
    this.#arrive(page.seq);
  }

  /** Forgets the position, not yet the messages: a new page is on its way. `seq` is the room's last. */
  suspend(seq: Seq, epoch: string): void {
    if (epoch !== this.#epoch) this.#restart(epoch);
    else this.#ahead.clear();
    this.#ready = false;
    this.#head = Math.max(this.#head, seq);
  }

  /** Says that events up to `seq` exist and that the connection does not bring them. */
  expect(seq: Seq): void {
    this.#head = Math.max(this.#head, seq);
  }

  /** Takes one event, from wherever. False when it was known already. */
  push(event: RoomEvent): boolean {
    if (this.#ready && event.seq <= this.#applied) return false;
    if (!this.#ready || event.seq !== this.#applied + 1) {
      if (this.#ahead.has(event.seq)) return false;
      this.expect(event.seq);
      // What does not fit is fetched again in its turn, so dropping it only costs a request.
      if (this.#ahead.size < AHEAD_MAX) this.#ahead.set(event.seq, event);
      return true;
    }
    this.#fold(event);
    this.#drain();
    return true;
  }

  /** Call before a page of history is asked for, and `prepend` with the answer. */
  beginOlder(): Seq {
    this.#changes = [];
    return this.#messages[0]?.seq ?? this.#applied + 1;
  }

  /** Puts a page of history in front; false when it no longer fits what is there. */
  prepend(page: MessagePage): boolean {
    const changes = this.#changes;
    this.#changes = undefined;
    if (changes === undefined || page.epoch !== this.#epoch) return false;
    const first = this.#messages[0]?.seq ?? Number.MAX_SAFE_INTEGER;
    this.#messages.unshift(...page.messages.filter((message) => message.seq < first));
    this.#hasOlder = page.has_more;
    this.#shown = undefined;
    for (const change of changes) if (change.seq > page.seq) this.#change(change);
    return true;
  }

  /** Lets go of old messages beyond `keep`; they can be loaded again. */
  trim(keep: number): boolean {
    if (this.#messages.length <= keep || this.#changes !== undefined) return false;
    this.#messages.splice(0, this.#messages.length - keep);
    this.#hasOlder = true;
    this.#shown = undefined;
    return true;
  }

  #restart(epoch: string): void {
    this.#epoch = epoch;
    this.#messages = [];
    this.#shown = undefined;
    this.#applied = 0;
    this.#head = 0;
    this.#ahead.clear();
    this.#changes = undefined;
  }

  #arrive(seq: Seq): void {
    this.#shown = undefined;
    this.#applied = seq;
    this.#ready = true;
    for (const known of this.#ahead.keys()) if (known <= seq) this.#ahead.delete(known);
    this.#drain();
  }

  #drain(): void {
    for (;;) {
      const next = this.#ahead.get(this.#applied + 1);
      if (next === undefined) return;
      this.#ahead.delete(next.seq);
      this.#fold(next);
    }
  }

  #fold(event: RoomEvent): void {
    this.#applied = event.seq;
    if (event.type === "message") {
      const { type: _, ...message } = event;
      this.#messages.push(message);
      this.#shown = undefined;
    } else {
      this.#changes?.push(event);
      this.#change(event);
    }
  }

  #change(event: RoomEvent): void {
    if (event.type === "message") return;
    const index = find(this.#messages, event.ref);
    const message = this.#messages[index];
    if (message === undefined || message.deleted) return;
    if (event.type === "edit") {
      // Of an edit whose message was deleted later only the number is left.
      if (event.content === undefined) return;
      this.#messages[index] = { ...message, content: event.content, edited_at: event.created_at };
    } else {
      const { room_id, seq, user, created_at } = message;
      this.#messages[index] = { room_id, seq, user, created_at, deleted: true };
    }
    this.#shown = undefined;
  }
}

/** The index of the message with this seq, or -1. */
function find(messages: readonly Message[], seq: Seq): number {
  let low = 0;
  let high = messages.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const at = messages[middle]?.seq ?? 0;
    if (at === seq) return middle;
    if (at < seq) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

/** Twice the server's replay limit: beyond it the newest page is the shorter way. */
const AHEAD_MAX = 2_000;
