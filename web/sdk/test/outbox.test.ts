import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Refusal } from "../src/client.ts";
import type { RoomStore } from "../src/room.ts";
import { ada, ben, deleted, edited, EPOCH, makeKeep, page, pass, said, settle, World } from "./harness.ts";

let world: World;
let room: RoomStore;
let keep: ReturnType<typeof makeKeep>;

beforeEach(async () => {
  vi.useFakeTimers({ now: 1_000_000_000_000 });
  keep = makeKeep();
  world = new World(keep);
  await begin();
});

afterEach(() => {
  vi.useRealTimers();
});

async function begin(): Promise<void> {
  world.answer = () => ({ body: page([1, 2, 3]) });
  await world.start();
  room = world.client.room(7);
  room.open();
  await joined();
}

async function joined(seq = 3, more: object = {}): Promise<void> {
  world.socket.say({ type: "joined", room_id: 7, epoch: EPOCH, seq, online: 1, ...more });
  await settle();
}

async function reconnect(): Promise<void> {
  world.socket.end(1006);
  await pass(15_000);
  await world.greet();
}

/** The n-th message frame on the newest socket. */
function frame(index: number) {
  const message = world.socket.of("message")[index];
  if (message === undefined) throw new Error(`no message ${index} was sent`);
  return message as { id: number; content: string; nonce: string };
}

function sent(): unknown[] {
  return world.socket.of("message").map((one) => one["content"]);
}

function statuses(): string[] {
  return room.snapshot().outgoing.map((item) => item.status);
}

describe("sending", () => {
  test("one message at a time, in order, until acked", () => {
    room.send("a");
    room.send("b");
    expect(sent()).toEqual(["a"]);
    expect(statuses()).toEqual(["sent", "waiting"]);
    expect(frame(0).nonce).toMatch(/^[\u0021-\u007e]{1,64}$/);
    world.socket.say({ type: "ack", id: frame(0).id, room_id: 7, seq: 4, nonce: frame(0).nonce });
    expect(sent()).toEqual(["a", "b"]);
    expect(frame(1).nonce).not.toBe(frame(0).nonce);
  });

  test("a message stays pending until its event is in the list: it is never there twice, never gone", () => {
    room.send("a");
    world.socket.say({ type: "ack", id: frame(0).id, room_id: 7, seq: 4, nonce: frame(0).nonce });
    expect(statuses()).toEqual(["acked"]);
    world.socket.say(said(4, ada, { content: "a", nonce: frame(0).nonce }));
    expect(statuses()).toEqual([]);
    expect(room.snapshot().messages.at(-1)).toMatchObject({ seq: 4, content: "a" });
  });

  test("its own event before the ack is an answer too", () => {
    room.send("a");
    room.send("b");
    world.socket.say(said(4, ada, { content: "a", nonce: frame(0).nonce }));
    expect(sent()).toEqual(["a", "b"]);
    world.socket.say({ type: "ack", id: frame(0).id, room_id: 7, seq: 4, nonce: frame(0).nonce });
    expect(sent()).toEqual(["a", "b"]);
  });

  test("somebody else's nonce is not ours", () => {
    room.send("a");
    world.socket.say(said(4, ben, { content: "a", nonce: frame(0).nonce }));
    expect(statuses()).toEqual(["sent"]);
  });

  test("before the room is joined, messages wait", async () => {
    await reconnect();
    room.send("a");
    expect(sent()).toEqual([]);
    await joined(3, { resumed: true, replay: 0 });
    expect(sent()).toEqual(["a"]);
  });
});

describe("in doubt", () => {
  test("after a lost connection the same nonce is sent again, first", async () => {
    room.send("a");
    room.send("b");
    const { nonce } = frame(0);
    await reconnect();
    expect(statuses()).toEqual(["waiting", "waiting"]);
    room.send("c");
    await joined(4, { resumed: true, replay: 1 });
    expect(frame(0)).toMatchObject({ content: "a", nonce });
    world.socket.say({ type: "ack", id: frame(0).id, room_id: 7, seq: 4, nonce, duplicate: true });
    world.socket.say(said(4, ada, { content: "a", nonce }));
    expect(sent()).toEqual(["a", "b"]);
    expect(statuses()).toEqual(["sent", "waiting"]);
  });

  test.each(["unavailable", "rate_limited", "internal"])("%s: again with the same nonce, when it says", async (code) => {
    room.send("a");
    room.send("b");
    const first = frame(0);
    world.socket.say({ type: "error", id: first.id, room_id: 7, code, message: "", retry_after_ms: 900 });
    await pass(899);
    expect(sent()).toEqual(["a"]);
    await pass(1);
    expect(frame(1)).toMatchObject({ content: "a", nonce: first.nonce });
    world.socket.say({ type: "ack", id: frame(1).id, room_id: 7, seq: 4 });
    expect(sent()).toEqual(["a", "a", "b"]);
  });

  test("without a time it backs off", async () => {
    room.send("a");
    const gaps: number[] = [];
    for (let attempt = 0; attempt < 4; attempt += 1) {
      const count = sent().length;
      const before = Date.now();
      world.socket.say({ type: "error", id: frame(count - 1).id, room_id: 7, code: "unavailable", message: "" });
      while (sent().length === count) await pass(10);
      gaps.push(Date.now() - before);
    }
    expect(gaps).toEqual([550, 800, 1300, 2300]);
  });

  test("not joined any more: join again, then send again", async () => {
    room.send("a");
    world.socket.say({ type: "error", id: frame(0).id, room_id: 7, code: "not_joined", message: "" });
    expect(world.socket.of("join")).toHaveLength(2);
    await joined(3, { resumed: true, replay: 0 });
    await pass(5_000);
    expect(sent()).toEqual(["a", "a"]);
    expect(frame(1).nonce).toBe(frame(0).nonce);
  });
});

describe("refused", () => {
  test("a final refusal keeps the text, tells, and does not hold up the next", () => {
    const refusals: Refusal[] = [];
    world.client.onRefusal((refusal) => refusals.push(refusal));
    room.send("a");
    room.send("b");
    world.socket.say({ type: "error", id: frame(0).id, room_id: 7, code: "forbidden", message: "no" });
    expect(sent()).toEqual(["a", "b"]);
    expect(room.snapshot().outgoing).toMatchObject([
      { status: "refused", code: "forbidden", deed: { content: "a" } },
      { status: "sent" },
    ]);
    expect(refusals).toMatchObject([{ message: "no", item: { code: "forbidden" } }]);
  });

  test("what was refused can be tried again or given up", () => {
    room.send("a");
    const first = frame(0);
    world.socket.say({ type: "error", id: first.id, room_id: 7, code: "forbidden", message: "no" });
    room.retry(first.nonce);
    expect(frame(1)).toMatchObject({ content: "a", nonce: first.nonce });
    world.socket.say({ type: "error", id: frame(1).id, room_id: 7, code: "forbidden", message: "no" });
    room.discard(first.nonce);
    expect(statuses()).toEqual([]);
  });
});

describe("edits and deletions", () => {
  test("go the same way, in order with messages, and are shown until their event came", () => {
    room.send("a");
    room.edit(2, "better");
    room.delete(3);
    expect(world.socket.of("edit")).toEqual([]);
    world.socket.say({ type: "ack", id: frame(0).id, room_id: 7, seq: 4 });
    const edit = world.socket.of("edit")[0];
    expect(edit).toMatchObject({ room_id: 7, ref: 2, content: "better" });
    world.socket.say({ type: "ack", id: edit?.["id"], room_id: 7, seq: 5 });
    const removal = world.socket.of("delete")[0];
    expect(removal).toMatchObject({ room_id: 7, ref: 3 });
    expect(statuses()).toEqual(["acked", "acked", "sent"]);
    world.socket.say(said(4, ada));
    world.socket.say(edited(5, 2, "better", ada));
    world.socket.say(deleted(6, 3, ada));
    world.socket.say({ type: "ack", id: removal?.["id"], room_id: 7, seq: 6 });
    expect(statuses()).toEqual([]);
  });

  test("a deletion that somebody did before is done", () => {
    room.delete(3);
    world.socket.say(deleted(4, 3));
    world.socket.say({ type: "ack", id: world.socket.of("delete")[0]?.["id"], room_id: 7, seq: 4, duplicate: true });
    expect(statuses()).toEqual([]);
  });

  test("a refused edit leaves the message as it is", () => {
    const refusals: Refusal[] = [];
    world.client.onRefusal((refusal) => refusals.push(refusal));
    room.edit(2, "better");
    world.socket.say({ type: "error", id: world.socket.of("edit")[0]?.["id"], room_id: 7, code: "conflict", message: "" });
    expect(statuses()).toEqual([]);
    expect(refusals).toHaveLength(1);
  });
});

describe("over a reload", () => {
  test("unsent messages come back, with their nonces", async () => {
    world.socket.end(1006);
    room.send("a");
    room.send("b");
    const nonces = room.snapshot().outgoing.map((item) => item.nonce);
    world = new World(keep);
    await begin();
    expect(frame(0)).toMatchObject({ content: "a", nonce: nonces[0] });
    world.socket.say({ type: "ack", id: frame(0).id, room_id: 7, seq: 4 });
    world.socket.say({ type: "ack", id: frame(1).id, room_id: 7, seq: 5 });
    expect(keep.all.size).toBe(0);
  });

  test("another user of this browser does not send them", async () => {
    world.socket.end(1006);
    room.send("a");
    world = new World(keep);
    world.user = ben;
    await begin();
    expect(statuses()).toEqual([]);
  });

  test("a full or broken storage does not hinder anybody", async () => {
    keep.setItem = () => {
      throw new Error("full");
    };
    room.send("a");
    expect(sent()).toEqual(["a"]);
    keep.all.set("chatroom.outbox.1.7", "{no json");
    world = new World(keep);
    await begin();
    expect(statuses()).toEqual([]);
  });
});
