import type { Message, Outgoing } from "chatroom-sdk";
import { expect, test } from "vitest";
import { makeLines } from "./lines.ts";

const ada = { id: 1, username: "ada" };
const ben = { id: 2, username: "ben" };
const noon = new Date(2026, 10, 24, 12).getTime();
const MINUTE = 60_000;

function message(seq: number, user: typeof ada, minutes: number): Message {
  return { room_id: 1, seq, user, content: `m${seq}`, created_at: new Date(noon + minutes * MINUTE).toISOString() };
}

function shape(lines: ReturnType<typeof makeLines>): string[] {
  return lines.map((line) =>
    line.kind === "message"
      ? `${line.first ? "head " : ""}${line.message.seq}`
      : line.kind === "outgoing"
        ? `${line.first ? "head " : ""}${line.item.nonce}`
        : line.kind,
  );
}

test("messages of one author within five minutes share a head", () => {
  const messages = [message(1, ada, 0), message(2, ada, 4), message(3, ben, 5), message(4, ben, 11)];
  expect(shape(makeLines(messages, [], ada, undefined))).toEqual(["day", "head 1", "2", "head 3", "head 4"]);
});

test("each day has its name, once", () => {
  const messages = [message(1, ada, -24 * 60), message(2, ada, 0), message(3, ada, 1)];
  expect(shape(makeLines(messages, [], ada, undefined))).toEqual(["day", "head 1", "day", "head 2", "3"]);
});

test("the mark stands before the first unread message of somebody else", () => {
  const messages = [message(1, ben, 0), message(2, ada, 1), message(3, ben, 2), message(4, ben, 3)];
  expect(shape(makeLines(messages, [], ada, 1))).toEqual(["day", "head 1", "head 2", "unread", "head 3", "4"]);
});

test("the mark stands under the name of a new day, and the message has its head", () => {
  const messages = [message(1, ben, -24 * 60), message(2, ben, 0)];
  expect(shape(makeLines(messages, [], ada, 1))).toEqual(["day", "head 1", "day", "unread", "head 2"]);
});

test("own messages on their way follow, and changes lie over what they change", () => {
  const outgoing: Outgoing[] = [
    { nonce: "e", deed: { kind: "edit", ref: 1, content: "new" }, createdAt: noon, status: "sent" },
    { nonce: "n", deed: { kind: "message", content: "hi" }, createdAt: noon + MINUTE, status: "waiting" },
  ];
  const lines = makeLines([message(1, ada, 0)], outgoing, ada, undefined);
  expect(shape(lines)).toEqual(["day", "head 1", "n"]);
  expect(lines[1]).toMatchObject({ change: { nonce: "e" } });
});
