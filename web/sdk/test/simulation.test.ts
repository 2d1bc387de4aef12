/** Whatever the network does, the reader ends up with what the server has: many seeds, each a story. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { makeRandom, Model } from "./model.ts";
import { pass } from "./harness.ts";

/** Seeds that once failed, then the first so many. */
const FOUND = [764, 4558];
const SEEDS = Number(process.env["SEEDS"] ?? 150);
const STEPS = 120;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000_000_000 });
});

afterEach(() => {
  vi.useRealTimers();
});

test.each([...FOUND, ...Array.from({ length: SEEDS }, (_, seed) => seed)])("seed %i", async (seed) => {
  const random = makeRandom(seed);
  const model = new Model(random);
  const { world } = model;
  const replaced = seed % 4 === 0;
  for (let count = model.below(30); count > 0; count -= 1) model.stir();
  world.client.session.restore();
  await pass(0);
  const room = world.client.room(7);
  const sent: string[] = [];
  room.open();

  for (let step = 0; step < STEPS; step += 1) {
    world.chance = random();
    const roll = model.below(100);
    if (roll < 25) model.stir();
    else if (roll < 45) {
      sent.push(`a${sent.length}`);
      room.send(`a${sent.length - 1}`);
    } else if (roll < 55) {
      const own = room.snapshot().messages.filter((message) => message.user.id === world.user.id && !message.deleted);
      const target = own[model.below(own.length)];
      if (target && roll < 51) room.edit(target.seq, `x${step}`);
      else if (target) room.delete(target.seq);
    } else if (roll < 60) model.cut();
    else if (roll < 66) model.skip();
    else if (roll < 70) room.loadOlder();
    else if (roll < 72 && replaced) model.restore();
    else if (roll < 74) room.close();
    else if (roll < 80) room.open();
    await pass(model.below(400));
    model.turn();
    checkWhole(model, room.snapshot().messages.map((message) => message.seq));
  }

  // The storm is over. What is left to do is done in the end.
  model.calm = true;
  room.open();
  for (let turn = 0; turn < 400; turn += 1) {
    await pass(500);
    model.turn();
    room.loadOlder();
  }
  const state = room.snapshot();
  expect(state.live).toBe(true);
  expect(state.messages).toEqual(model.folded());
  expect(state.outgoing.filter((item) => item.status !== "refused")).toEqual([]);
  if (replaced) return;
  // Each of its messages once, in the order in which they were written.
  const stored = model.log.filter((event) => event.type === "message" && event.user.id === world.user.id);
  const contents = stored.map((event) => (event.type === "message" ? event.content : undefined));
  expect(contents).toEqual(sent);
});

/** No message is missing between the first and the last that are shown, and none is there twice. */
function checkWhole(model: Model, shown: readonly number[]): void {
  const first = shown[0];
  const last = shown.at(-1);
  if (first === undefined || last === undefined || last > model.log.length) return;
  const between = model.log.filter((event) => event.type === "message" && event.seq >= first && event.seq <= last);
  const expected = between.map((event) => event.seq);
  // After the log was replaced, and until that is heard of, the old one is shown.
  if (model.epoch === "e1") expect(shown).toEqual(expected);
}
