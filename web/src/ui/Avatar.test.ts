import { expect, test } from "vitest";
import { initials } from "./Avatar.tsx";

test.each([
  ["ada", "AD"],
  ["ada.lovelace", "AL"],
  ["Ben_O", "BO"],
  ["x-1", "X1"],
  ["李小梅", "李"],
  ["ʻokina", "ʻO"],
  ["___", "__"],
])("the initials of %s are %s", (name, expected) => {
  expect(initials(name)).toBe(expected);
});
