import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { RoomStore } from "../src/room.ts";
import { ada, ben, deleted, edited, EPOCH, page, pass, said, settle, World } from "./harness.ts";
import type { Reply, Request } from "./harness.ts";

let world: World;
let room: RoomStore;
/** What the server's newest page is. */
let newest: Reply;

beforeEach(async () => {
  vi.useFakeTimers({ now: 1_000_000_000_000 });
  world = new World();
  newest = { body: page([1, 2, 3]) };
  world.answer = (request) => (request.path === "/rooms/7/messages?limit=50" ? newest : { status: 503 });
  await world.start();
  room = world.client.room(7);
});

afterEach(() => {
  vi.useRealTimers();
});

/** Opens the room: the page is loaded, the join is answered. */
async function enter(seq = 3, more: object = {}): Promise<void> {
  room.open();
  world.socket.say({ type: "joined", room_id: 7, epoch: EPOCH, seq, online: 1, ...more });
  await settle();
}

async function reconnect(): Promise<void> {
  world.socket.end(1006);
  await pass(15_000);
  await world.greet();
}

function contents(): (string | undefined)[] {
  return room.snapshot().messages.map((message) => message.content);
}

describe("live", () => {
  test("the page comes first, then events, each once and in order", async () => {
    await enter();
    expect(room.snapshot()).toMatchObject({ phase: "ready", live: true });
    world.socket.say(said(4));
    world.socket.say(said(4));
    world.socket.say(said(3));
    world.socket.say(said(5));
    expect(contents()).toEqual(["m1", "m2", "m3", "m4", "m5"]);
  });

  test("edits and deletions change the message they name", async () => {
    await enter();
    world.socket.say(edited(4, 2, "better"));
    world.socket.say(deleted(5, 1));
    expect(room.snapshot().messages).toMatchObject([
      { seq: 1, deleted: true },
      { seq: 2, content: "better", edited_at: "2026-11-24T10:00:00.000Z" },
      { seq: 3 },
    ]);
    expect(room.snapshot().messages[0]).not.toHaveProperty("content");
    // Too late for what is gone.
    world.socket.say(edited(6, 1, "zombie"));
    expect(room.snapshot().messages[0]).not.toHaveProperty("content");
  });

  test("snapshots are immutable, and the same until something changes", async () => {
    await enter();
    const before = room.snapshot();
    expect(room.snapshot()).toBe(before);
    world.socket.say(said(4));
    expect(before.messages).toHaveLength(3);
    expect(room.snapshot()).not.toBe(before);
  });

  test("a burst of events reaches the listeners as one change", async () => {
    await enter();
    await pass(20);
    const heard = vi.fn<() => void>();
    room.subscribe(heard);
    for (let seq = 4; seq < 104; seq += 1) world.socket.say(said(seq));
    await pass(20);
    expect(heard).toHaveBeenCalledTimes(1);
    expect(room.snapshot().messages).toHaveLength(103);
  });

  test("a page read before the join is brought up to date from the log", async () => {
    world.answer = ({ path }) =>
      path.startsWith("/rooms/7/events?after=3")
        ? { body: { events: [said(4), said(5)], has_more: false, epoch: EPOCH } }
        : newest;
    await enter(5);
    await settle();
    world.socket.say(said(6));
    expect(contents()).toEqual(["m1", "m2", "m3", "m4", "m5", "m6"]);
  });

  test("events that overtake the page wait for it", async () => {
    let give: (reply: Reply) => void = () => undefined;
    world.answer = ({ path }) =>
      path.includes("/messages?") ? new Promise((resolve) => (give = resolve)) : { status: 503 };
    await enter();
    world.socket.say(said(4));
    world.socket.say(said(5));
    expect(room.snapshot().phase).toBe("loading");
    give({ body: page([1, 2, 3, 4]) });
    await settle();
    expect(contents()).toEqual(["m1", "m2", "m3", "m4", "m5"]);
  });
});

describe("resuming", () => {
  test("a new connection joins all rooms with since and epoch", async () => {
    await enter();
    world.socket.say(said(4));
    world.client.room(8);
    world.socket.say({ type: "joined", room_id: 8, epoch: "e8", seq: 40, online: 1 });
    await reconnect();
    expect(world.socket.of("join")[0]?.["rooms"]).toEqual([
      { room_id: 7, since: 4, epoch: EPOCH },
      { room_id: 8, since: 40, epoch: "e8" },
    ]);
    world.socket.say({ type: "joined", room_id: 7, epoch: EPOCH, seq: 6, online: 1, resumed: true, replay: 2 });
    world.socket.say(said(5));
    world.socket.say(said(6));
    expect(contents()).toEqual(["m1", "m2", "m3", "m4", "m5", "m6"]);
    expect(world.asked("GET").filter((path) => path.includes("/messages?"))).toHaveLength(1);
  });

  test("more rooms than a frame may name go in several", async () => {
    for (let id = 100; id < 320; id += 1) world.client.room(id);
    await reconnect();
    expect(world.socket.of("join").map((frame) => (frame["rooms"] as unknown[]).length)).toEqual([100, 100, 21]);
  });

  test.each(["too_far", "expired"])("resumed:false for %s loads the newest page and goes on live", async (reason) => {
    await enter();
    let give: (reply: Reply) => void = () => undefined;
    world.answer = ({ path }) =>
      path.includes("/messages?") ? new Promise((resolve) => (give = resolve)) : { status: 503 };
    await reconnect();
    world.socket.say({ type: "joined", room_id: 7, epoch: EPOCH, seq: 5000, online: 1, resumed: false, reason });
    world.socket.say(said(5001));
    await settle();
    expect(room.snapshot().live).toBe(false);
    // What was there stays on the screen meanwhile.
    expect(contents()).toEqual(["m1", "m2", "m3"]);
    give({ body: page([4999, 5000]) });
    await settle();
    world.socket.say(said(5002));
    expect(contents()).toEqual(["m4999", "m5000", "m5001", "m5002"]);
    expect(room.snapshot()).toMatchObject({ live: true, hasOlder: true });
  });

  test("another epoch is another log: nothing of the old one stays", async () => {
    await enter();
    newest = { body: page([1, 2], 2, { epoch: "e2" }) };
    await reconnect();
    world.socket.say({ type: "joined", room_id: 7, epoch: "e2", seq: 2, online: 1, resumed: false, reason: "epoch" });
    expect(contents()).toEqual([]);
    await settle();
    world.socket.say(said(3, ben, { content: "new" }));
    expect(contents()).toEqual(["m1", "m2", "new"]);
    await reconnect();
    expect(world.socket.of("join")[0]?.["rooms"]).toEqual([{ room_id: 7, since: 3, epoch: "e2" }]);
  });

  test("left with epoch joins again", async () => {
    await enter();
    world.socket.say({ type: "left", room_id: 7, reason: "epoch" });
    expect(world.socket.of("join")).toHaveLength(2);
  });

  test("left for another reason is the end of the room", async () => {
    await enter();
    world.socket.say({ type: "left", room_id: 7, reason: "forbidden" });
    expect(room.snapshot().phase).toBe("gone");
  });
});

describe("gaps", () => {
  function log(from: number, to: number): (request: Request) => Reply {
    return ({ path }) => {
      const after = Number(/after=(\d+)/.exec(path)?.[1] ?? Number.NaN);
      if (!path.includes("/events?")) return newest;
      const first = Math.max(after + 1, from);
      const seqs = Array.from({ length: Math.max(0, Math.min(200, to - first + 1)) }, (_, index) => first + index);
      const has_more = (seqs.at(-1) ?? to) < to;
      return { body: { events: seqs.map((seq) => said(seq)), has_more, epoch: EPOCH } };
    };
  }

  test("what a gap names is fetched, and what came behind it waits", async () => {
    await enter();
    world.answer = log(4, 503);
    world.socket.say({ type: "gap", room_id: 7, from: 4, to: 503 });
    world.socket.say(said(504));
    expect(room.snapshot().live).toBe(false);
    await settle();
    expect(room.snapshot().messages.map((message) => message.seq)).toEqual(
      Array.from({ length: 504 }, (_, index) => index + 1),
    );
    expect(world.asked("GET").filter((path) => path.includes("/events?"))).toEqual([
      "/rooms/7/events?after=3&limit=200",
      "/rooms/7/events?after=203&limit=200",
      "/rooms/7/events?after=403&limit=200",
    ]);
  });

  test("a very large gap is passed over by the newest page", async () => {
    await enter();
    newest = { body: page([9_000, 9_001]) };
    world.socket.say({ type: "gap", room_id: 7, from: 4, to: 9_000 });
    await settle();
    expect(contents()).toEqual(["m9000", "m9001"]);
  });

  test("a hole that nobody announced is fetched as well", async () => {
    await enter();
    world.answer = log(4, 5);
    world.socket.say(said(5));
    await settle();
    expect(contents()).toEqual(["m1", "m2", "m3", "m4", "m5"]);
  });

  test("events that are no longer kept: the newest page is what there is", async () => {
    await enter();
    world.answer = ({ path }) =>
      path.includes("/events?") ? { body: { events: [], has_more: false, epoch: EPOCH } } : newest;
    newest = { body: page([8, 9]) };
    world.socket.say({ type: "gap", room_id: 7, from: 4, to: 8 });
    await pass(2_000);
    expect(contents()).toEqual(["m8", "m9"]);
  });

  test("a server that cannot answer is asked again", async () => {
    await enter();
    world.answer = () => ({ status: 503, body: { code: "unavailable" } });
    world.socket.say({ type: "gap", room_id: 7, from: 4, to: 5 });
    await pass(1_000);
    expect(room.snapshot()).toMatchObject({ live: false, problem: { code: "unavailable" } });
    world.answer = log(4, 5);
    await pass(10_000);
    expect(contents()).toEqual(["m1", "m2", "m3", "m4", "m5"]);
    expect(room.snapshot().problem).toBeUndefined();
  });
});

describe("history", () => {
  test("older pages come in front until the beginning", async () => {
    newest = { body: page([51, 52], 52) };
    await enter(52);
    world.answer = ({ path }) =>
      path === "/rooms/7/messages?before=51&limit=50" ? { body: page([1, 2], 52, { has_more: false }) } : newest;
    room.loadOlder();
    room.loadOlder();
    expect(room.snapshot().loadingOlder).toBe(true);
    await settle();
    expect(contents()).toEqual(["m1", "m2", "m51", "m52"]);
    expect(room.snapshot()).toMatchObject({ hasOlder: false, loadingOlder: false });
    room.loadOlder();
    expect(world.asked("GET").filter((path) => path.includes("before="))).toHaveLength(1);
  });

  test("an edit that overtakes the page it belongs to is not lost", async () => {
    newest = { body: page([51, 52], 52) };
    await enter(52);
    let give: (reply: Reply) => void = () => undefined;
    world.answer = () => new Promise((resolve) => (give = resolve));
    room.loadOlder();
    await settle();
    world.socket.say(edited(53, 2, "better"));
    world.socket.say(deleted(54, 1));
    give({ body: page([1, 2], 52, { has_more: false }) });
    await settle();
    expect(contents()).toEqual([undefined, "better", "m51", "m52"]);
  });

  test("a page of history that was asked for before a reload is not put before the wrong messages", async () => {
    newest = { body: page([51, 52], 52) };
    await enter(52);
    let give: (reply: Reply) => void = () => undefined;
    world.answer = ({ path }) =>
      path.includes("before=") ? new Promise((resolve) => (give = resolve)) : newest;
    room.loadOlder();
    await settle();
    newest = { body: page([2051, 2052], 2052) };
    world.socket.say({ type: "gap", room_id: 7, from: 53, to: 2052 });
    await settle();
    give({ body: page([49, 50], 52) });
    await settle();
    expect(contents()).toEqual(["m2051", "m2052"]);
    expect(room.snapshot().loadingOlder).toBe(false);
  });

  test("what the screen does not show is let go of, and can be loaded again", async () => {
    await enter();
    for (let seq = 4; seq <= 500; seq += 1) world.socket.say(said(seq));
    room.trim();
    expect(room.snapshot().messages).toHaveLength(300);
    expect(room.snapshot().hasOlder).toBe(true);
  });
});

describe("rooms that are not there", () => {
  test("an unknown room is gone, and is not joined again", async () => {
    world.answer = () => ({ status: 404, body: { code: "not_found" } });
    await enter();
    expect(room.snapshot().phase).toBe("gone");
    await reconnect();
    expect(world.socket.of("join")).toHaveLength(0);
  });

  test("a join that is refused for now is tried again", async () => {
    room.open();
    const id = world.socket.of("join")[0]?.["id"];
    world.socket.say({ type: "error", id, room_id: 7, code: "unavailable", message: "", retry_after_ms: 700 });
    await pass(699);
    expect(world.socket.of("join")).toHaveLength(1);
    await pass(1);
    expect(world.socket.of("join")).toHaveLength(2);
  });

  test("a join frame that is refused as a whole is tried again for each of its rooms", async () => {
    world.client.room(8);
    await reconnect();
    const id = world.socket.of("join")[0]?.["id"];
    world.socket.say({ type: "error", id, code: "rate_limited", message: "", retry_after_ms: 100 });
    await pass(100);
    expect(world.socket.of("join").slice(1).map((frame) => frame["rooms"])).toEqual([
      [{ room_id: 7 }],
      [{ room_id: 8 }],
    ]);
  });

  test("a room that was left is forgotten", async () => {
    await enter();
    world.client.leave(7);
    expect(world.socket.of("leave")).toMatchObject([{ room_id: 7 }]);
    world.socket.say(said(4));
    await reconnect();
    expect(world.socket.of("join")).toHaveLength(0);
  });
});

describe("reading", () => {
  test("a room that nobody looks at counts what is new", async () => {
    world.socket.say({ type: "joined", room_id: 7, epoch: EPOCH, seq: 30, online: 1 });
    world.socket.say(said(31));
    world.socket.say(said(32, ada));
    world.socket.say(said(33));
    expect(room.snapshot()).toMatchObject({ unread: 2, unreadMore: true });
    room.markRead();
    expect(room.snapshot()).toMatchObject({ unread: 2 });

    newest = { body: page([31, 32, 33], 33) };
    room.open();
    await settle();
    expect(contents()).toEqual(["m31", "m32", "m33"]);
    room.markRead();
    expect(room.snapshot()).toMatchObject({ unread: 0, unreadMore: false, readSeq: 33 });
  });

  test("what was read in an earlier visit is not new", async () => {
    const other = world.client.room(9, 30);
    world.socket.say({ type: "joined", room_id: 9, epoch: EPOCH, seq: 30, online: 1 });
    expect(other.snapshot()).toMatchObject({ unread: 0, unreadMore: false });
  });

  test("a room that nobody looks at does not reload what it missed", async () => {
    world.socket.say({ type: "joined", room_id: 7, epoch: EPOCH, seq: 30, online: 1 });
    await reconnect();
    world.socket.say({ type: "joined", room_id: 7, epoch: EPOCH, seq: 3000, online: 1, resumed: false, reason: "too_far" });
    await settle();
    expect(world.asked("GET")).toEqual([]);
    expect(room.snapshot()).toMatchObject({ unreadMore: true });
    world.socket.say(said(3001));
    expect(room.snapshot()).toMatchObject({ unread: 1 });
  });
});

describe("presence and typing", () => {
  const carl = { id: 3, username: "carl" };

  test("follows sync, join, leave and count", async () => {
    await enter();
    world.socket.say({ type: "presence", room_id: 7, event: "sync", online: 2, users: [carl, ada] });
    expect(room.snapshot()).toMatchObject({ online: 2, users: [ada, carl] });
    world.socket.say({ type: "presence", room_id: 7, event: "join", user: ben, online: 3 });
    world.socket.say({ type: "presence", room_id: 7, event: "leave", user: carl, online: 2 });
    expect(room.snapshot()).toMatchObject({ online: 2, users: [ada, ben] });
    world.socket.say({ type: "presence", room_id: 7, event: "count", online: 900 });
    expect(room.snapshot().online).toBe(900);
    expect(room.snapshot()).not.toHaveProperty("users");
  });

  test("a large room's names are asked for", async () => {
    world.answer = ({ path }) =>
      path === "/rooms/7/online" ? { body: { online: 900, users: [carl, ada] } } : newest;
    await enter(3, { online: 900 });
    expect(room.snapshot()).toMatchObject({ online: 900, users: [ada, carl] });
  });

  test("typing ends after 6 s, with a message, and with the connection", async () => {
    await enter();
    world.socket.say({ type: "typing", room_id: 7, user: ben });
    world.socket.say({ type: "typing", room_id: 7, user: carl });
    expect(room.snapshot().typing).toEqual([ben, carl]);
    world.socket.say(said(4, ben));
    expect(room.snapshot().typing).toEqual([carl]);
    await pass(5_999);
    expect(room.snapshot().typing).toEqual([carl]);
    await pass(1);
    expect(room.snapshot().typing).toEqual([]);
    world.socket.say({ type: "typing", room_id: 7, user: ben });
    world.socket.end(1006);
    expect(room.snapshot().typing).toEqual([]);
  });

  test("typing is told at most every 3 s", async () => {
    await enter();
    room.typing();
    room.typing();
    await pass(2_999);
    room.typing();
    expect(world.socket.of("typing")).toHaveLength(1);
    await pass(1);
    room.typing();
    expect(world.socket.of("typing")).toHaveLength(2);
  });
});
