/** Turns a room's messages into the lines of the screen: days, the unread mark, and groups by author. */
import type { Message, Outgoing, Seq, User } from "chatroom-sdk";

export type Line =
  | { readonly kind: "day"; readonly key: string; readonly date: Date }
  | { readonly kind: "unread"; readonly key: string }
  | {
      readonly kind: "message";
      readonly key: string;
      readonly message: Message;
      /** The first of its group: with the author's face and name. */
      readonly first: boolean;
      /** An own edit or deletion that the server has not confirmed. */
      readonly change: Outgoing | undefined;
    }
  | {
      readonly kind: "outgoing";
      readonly key: string;
      readonly item: Outgoing;
      readonly first: boolean;
    };

/** `unreadAfter`: a mark goes in front of the first message of others after this seq. */
export function makeLines(
  messages: readonly Message[],
  outgoing: readonly Outgoing[],
  me: User,
  unreadAfter: Seq | undefined,
): readonly Line[] {
  const lines: Line[] = [];
  const changes = new Map<Seq, Outgoing>();
  for (const item of outgoing) if (item.deed.kind !== "message") changes.set(item.deed.ref, item);
  let unreadOpen = unreadAfter !== undefined;
  let last: { readonly date: Date; readonly author: number } | undefined;

  const begin = (date: Date, author: number): boolean => {
    if (last === undefined || !sameDay(last.date, date)) {
      lines.push({ kind: "day", key: `day ${date.toDateString()}`, date });
      last = undefined;
    }
    const first =
      last === undefined ||
      last.author !== author ||
      date.getTime() - last.date.getTime() > GROUP_MS ||
      lines.at(-1)?.kind === "unread";
    last = { date, author };
    return first;
  };

  for (const message of messages) {
    const date = new Date(message.created_at);
    if (unreadOpen && message.seq > (unreadAfter ?? 0) && message.user.id !== me.id) {
      // The mark stands under the day's name.
      if (last === undefined || !sameDay(last.date, date)) begin(date, 0);
      lines.push({ kind: "unread", key: "unread" });
      unreadOpen = false;
    }
    const first = begin(date, message.user.id);
    const change = changes.get(message.seq);
    lines.push({ kind: "message", key: `seq ${message.seq}`, message, first, change });
  }
  for (const item of outgoing) {
    if (item.deed.kind !== "message") continue;
    const date = new Date(item.createdAt);
    const first = begin(date, me.id);
    lines.push({ kind: "outgoing", key: `nonce ${item.nonce}`, item, first });
  }
  return lines;
}

function sameDay(a: Date, b: Date): boolean {
  return a.toDateString() === b.toDateString();
}

/** Messages further apart than this do not share a head. */
const GROUP_MS = 5 * 60_000;
