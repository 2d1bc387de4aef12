import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { backoffMs, closeReaction } from "../src/closeCode.ts";
import { ada, ben, pass, settle, World } from "./harness.ts";

let world: World;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000_000_000 });
  world = new World();
});

afterEach(() => {
  vi.useRealTimers();
});

function phase(): string {
  return world.client.connection.snapshot().phase;
}

describe("opening", () => {
  test("the token goes into the first frame, never into the address", async () => {
    await world.start();
    expect(world.socket.url).toBe("ws://chat.test/ws?hb=1");
    expect(world.socket.sent[0]).toMatchObject({ type: "auth", token: "t1" });
    expect(phase()).toBe("open");
  });

  test("nothing is sent before the welcome but the token", async () => {
    world.client.session.restore();
    await settle();
    world.socket.open();
    world.client.room(7).open();
    expect(world.socket.sent.map((frame) => frame["type"])).toEqual(["auth"]);
    world.socket.say(world.welcome());
    expect(world.socket.sent.map((frame) => frame["type"])).toEqual(["auth", "join"]);
  });

  test("without a welcome in 15 s it is tried again", async () => {
    world.client.session.restore();
    await settle();
    world.socket.open();
    await pass(14_999);
    expect(phase()).toBe("connecting");
    await pass(1);
    expect(phase()).toBe("waiting");
    expect(world.socket.closed).toBe(true);
    await pass(250);
    expect(world.sockets).toHaveLength(2);
  });

  test("a session that is over makes no connection", async () => {
    world.refresh = () => ({ status: 401, body: { code: "unauthorized" } });
    world.client.session.restore();
    await settle();
    expect(world.client.session.snapshot()).toEqual({ status: "out", ended: false });
    expect(world.sockets).toHaveLength(0);
  });
});

describe("reconnecting", () => {
  test("the backoff is evenly spread between 0 and min(30 s, 0.5 s · 2ⁿ)", () => {
    const almost = 1 - Number.EPSILON;
    expect([0, 1, 2, 5, 6, 7, 50].map((n) => backoffMs(n, almost))).toEqual([
      499, 999, 1999, 15_999, 29_999, 29_999, 29_999,
    ]);
    expect(backoffMs(6, 0)).toBe(0);
    expect(backoffMs(3, 0.5)).toBe(2000);
  });

  test("each failure doubles the delay, a stable connection starts anew", async () => {
    await world.start();
    const delays: number[] = [];
    const fail = async () => {
      const before = Date.now();
      const count = world.sockets.length;
      world.socket.end(1006);
      while (world.sockets.length === count) await pass(50);
      delays.push(Date.now() - before);
    };
    await fail();
    await fail();
    await fail();
    expect(delays).toEqual([250, 500, 1000]);

    // Greeted and dropped at once: that is no success.
    await world.greet();
    await fail();
    expect(delays.at(-1)).toBe(2000);

    await world.greet();
    await pass(5_000);
    await fail();
    expect(delays.at(-1)).toBe(250);
  });

  test.each([
    [1000, "retry"],
    [1001, "retry"],
    [1002, "stop"],
    [1003, "stop"],
    [1005, "retry"],
    [1006, "retry"],
    [1007, "stop"],
    [1009, "retry"],
    [1011, "retry"],
    [1012, "retry"],
    [1013, "retry"],
    [4401, "token"],
    [4403, "stop"],
    [4404, "stop"],
    [4408, "retry"],
    [4413, "retry"],
    [4429, "retry"],
    [4499, "retry"],
    [4500, "stop"],
    [4599, "stop"],
    [4600, "retry"],
  ])("the reaction to %i is %s", (code, reaction) => {
    expect(closeReaction(code)).toBe(reaction);
  });

  test("after a final code only the reader may try again", async () => {
    await world.start();
    world.socket.end(1002);
    expect(phase()).toBe("stopped");
    await pass(120_000);
    expect(world.sockets).toHaveLength(1);
    world.client.connection.retryNow();
    await settle();
    expect(world.sockets).toHaveLength(2);
  });

  test("4401 asks for a new token and connects with it at once", async () => {
    await world.start();
    world.socket.end(4401);
    await settle();
    await world.greet();
    expect(world.sockets).toHaveLength(2);
    expect(world.socket.sent[0]).toMatchObject({ type: "auth", token: "t2" });
  });

  test("a refused token is not tried twice", async () => {
    world.client.session.restore();
    await settle();
    world.socket.open();
    world.socket.say({ type: "error", code: "token_expired", message: "expired" });
    await pass(250);
    world.socket.open();
    expect(world.socket.sent[0]).toMatchObject({ type: "auth", token: "t2" });
  });

  test("a session ended elsewhere ends here", async () => {
    await world.start();
    world.refresh = () => ({ status: 401, body: { code: "unauthorized" } });
    world.socket.end(4401);
    await settle();
    expect(world.client.session.snapshot()).toEqual({ status: "out", ended: true });
    expect(phase()).toBe("idle");
    await pass(60_000);
    expect(world.sockets).toHaveLength(1);
  });

  test("bye names the delay", async () => {
    await world.start();
    world.socket.say({ type: "bye", reconnect_in_ms: 7_000 });
    expect(phase()).toBe("open");
    world.socket.end(1012);
    await pass(6_999);
    expect(world.sockets).toHaveLength(1);
    await pass(1);
    expect(world.sockets).toHaveLength(2);
  });

  test("an unavailable token service is asked again, when it says", async () => {
    await world.start();
    world.refresh = () => ({ status: 503, body: { code: "unavailable" }, headers: { "retry-after": "4" } });
    world.socket.end(4401);
    await pass(3_999);
    expect(world.asked("POST")).toHaveLength(2);
    world.refresh = () => ({ body: world.tokens() });
    await pass(1);
    expect(world.sockets).toHaveLength(2);
  });

  test("the network's return ends the waiting", async () => {
    await world.start();
    world.offline = true;
    world.socket.end(1006);
    for (let attempt = 0; attempt < 8; attempt += 1) {
      await pass(30_000);
      world.socket.end(1006);
    }
    const tried = world.sockets.length;
    world.offline = false;
    world.events.dispatchEvent(new Event("online"));
    await settle();
    expect(world.sockets).toHaveLength(tried + 1);
  });

  test("a socket that was let go of is not listened to", async () => {
    const old = await world.start();
    old.end(1006);
    await pass(250);
    await world.greet();
    old.say({ type: "bye", reconnect_in_ms: 1 });
    old.end(1002);
    expect(phase()).toBe("open");
  });
});

describe("heartbeats", () => {
  test("a ping is answered", async () => {
    await world.start();
    world.socket.say({ type: "ping" });
    expect(world.socket.of("pong")).toEqual([{ type: "pong" }]);
  });

  test("35 s of silence is a dead connection, anything heard is not", async () => {
    await world.start();
    await pass(34_000);
    world.socket.say({ type: "a frame of the future" });
    await pass(34_999);
    expect(phase()).toBe("open");
    await pass(1);
    expect(phase()).toBe("waiting");
    expect(world.socket.closed).toBe(true);
  });

  test("a machine that slept finds out with its next timer", async () => {
    await world.start();
    await pass(1_000);
    // The clock jumps; the timers did not run meanwhile.
    vi.setSystemTime(Date.now() + 3_600_000);
    await pass(34_000);
    expect(phase()).not.toBe("open");
  });

  test("going offline, or coming back to the page, asks for a sign of life", async () => {
    await world.start();
    world.events.dispatchEvent(new Event("offline"));
    expect(world.socket.of("ping")).toHaveLength(1);
    world.socket.say({ type: "pong" });
    await pass(5_000);
    expect(phase()).toBe("open");

    world.events.dispatchEvent(new Event("visibilitychange"));
    await pass(5_000);
    expect(phase()).toBe("waiting");
  });
});

describe("renewal", () => {
  test("the token is renewed on the living connection a minute before it expires", async () => {
    await world.start();
    await beat(839);
    expect(world.socket.of("auth")).toHaveLength(1);
    await beat(2);
    expect(world.socket.of("auth").map((frame) => frame["token"])).toEqual(["t1", "t2"]);
    world.socket.say({ type: "ok", id: 2 });
    await beat(842);
    expect(world.socket.of("auth").map((frame) => frame["token"])).toEqual(["t1", "t2", "t3"]);
    expect(world.sockets).toHaveLength(1);
  });

  test("a renewal that fails is repeated, and the connection lives on", async () => {
    await world.start();
    world.refresh = () => ({ status: 0 });
    await beat(850);
    expect(phase()).toBe("open");
    world.refresh = () => ({ body: world.tokens() });
    await beat(6);
    expect(world.socket.of("auth")).toHaveLength(2);
  });

  test("a short-lived token is renewed at half its life", async () => {
    world.lifeS = 10;
    await world.start();
    await beat(6);
    expect(world.socket.of("auth").map((frame) => frame["token"])).toEqual(["t1", "t2"]);
  });

  /** Seconds go by on a connection that is heard of. */
  async function beat(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second += 1) {
      await pass(1_000);
      world.socket.say({ type: "pong" });
    }
  }
});

describe("the session", () => {
  test("renewals are single-flight, and a call with a refused token is repeated with a new one", async () => {
    await world.start();
    world.answer = ({ token }) =>
      token === "t1" ? { status: 401, body: { code: "token_expired" } } : { body: { rooms: [] } };
    await Promise.all([world.client.api.rooms({}), world.client.api.rooms({}), world.client.api.rooms({})]);
    expect(world.asked("POST").filter((path) => path === "/auth/refresh")).toHaveLength(2);
  });

  test("while the server cannot be reached nobody is signed out", async () => {
    world.refresh = () => ({ status: 0 });
    world.client.session.restore();
    await pass(10_000);
    expect(world.client.session.snapshot()).toMatchObject({ status: "restoring", problem: { code: "network" } });
    world.refresh = () => ({ body: world.tokens() });
    await pass(40_000);
    expect(world.client.session.snapshot()).toMatchObject({ status: "in", user: ada });
  });

  test("signing in asks for the cookie", async () => {
    world.answer = () => ({ body: world.tokens() });
    await world.client.session.login({ username: "ada", password: "secret enough" });
    expect(world.requests.at(-1)).toMatchObject({
      path: "/auth/login",
      body: { username: "ada", password: "secret enough", cookie: true },
    });
    expect(world.client.session.user).toEqual(ada);
  });

  test("a logout that does not reach the server is none", async () => {
    await world.start();
    world.answer = () => ({ status: 0 });
    await expect(world.client.session.logout()).rejects.toMatchObject({ code: "network" });
    expect(world.client.session.user).toEqual(ada);
    world.answer = () => ({ status: 204 });
    await world.client.session.logout();
    expect(world.client.session.snapshot()).toEqual({ status: "out", ended: false });
    expect(phase()).toBe("idle");
    expect(world.socket.closed).toBe(true);
  });

  test("another user in the cookie is another chat", async () => {
    await world.start();
    const room = world.client.room(7);
    world.user = ben;
    world.socket.end(4401);
    await settle();
    expect(world.client.session.user).toEqual(ben);
    expect(world.client.room(7)).not.toBe(room);
  });

  test("problem documents keep their fields", async () => {
    const errors = [{ field: "username", code: "taken", message: "is taken" }];
    world.answer = () => ({ status: 422, body: { code: "validation_failed", title: "no", errors, request_id: "r1" } });
    await expect(world.client.session.register({ username: "a", password: "b" })).rejects.toMatchObject({
      status: 422,
      code: "validation_failed",
      fields: errors,
      requestId: "r1",
      passing: false,
    });
  });
});
