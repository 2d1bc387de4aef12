import { expect, test } from "vitest";
import { findLinks } from "./RichText.tsx";

test.each([
  ["no address here", []],
  ["see https://example.org.", ["https://example.org"]],
  ["(https://example.org/a)", ["https://example.org/a"]],
  ["https://example.org/a_(b) and", ["https://example.org/a_(b)"]],
  ["https://a.example, http://b.example/?q=1&r=2!", ["https://a.example", "http://b.example/?q=1&r=2"]],
  ["看https://example.org/文，很好", ["https://example.org/文"]],
  ["javascript:alert(1) data:text/html,x", []],
  ["https://", []],
])("the addresses in %j", (text, expected) => {
  expect(findLinks(text).map(({ start, end }) => text.slice(start, end))).toEqual(expected);
});
