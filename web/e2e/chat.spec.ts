/**
 * The web client in a real browser against the real server: two people, one room, and everything that
 * can come between them.
 */
import { chromium } from "playwright-core";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Line } from "./line.ts";
import { PASSWORD, Person } from "./person.ts";
import { Server } from "./server.ts";

let server: Server;
let line: Line;
let browser: Browser;
let ada: Person;
/** Comes in over a line that can be cut. */
let ben: Person;

beforeAll(async () => {
  line = new Line(() => server.port);
  await line.open();
  server = new Server([line.origin]);
  await server.start();
  browser = await chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
});

afterAll(async () => {
  await browser?.close();
  line?.close();
  await server?.remove();
});

test("signing up says what is wrong where it is wrong", async () => {
  ada = await Person.arrive(browser, server.origin, "ada");
  await ada.page.getByRole("heading", { name: "Welcome back" }).waitFor();
  await ada.screenshot("sign-in");
  await ada.checkBarriers();
  const { page } = ada;

  await page.getByLabel("Username").fill("nobody");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").filter({ hasText: "do not match" }).waitFor();

  await page.getByRole("button", { name: "Create account" }).click();
  await page.getByLabel("Username").fill("ada");
  await page.getByLabel("Password", { exact: true }).fill("short");
  await page.getByRole("button", { name: "Create account" }).click();
  await expect.poll(() => page.getByLabel("Password", { exact: true }).getAttribute("aria-invalid")).toBe("true");
  expect(await page.getByLabel("Password", { exact: true }).evaluate((field) => field === document.activeElement)).toBe(true);
  await ada.screenshot("sign-up-refused");
  await ada.checkBarriers();

  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Create account" }).click();
  await page.getByRole("heading", { name: "Hello, ada" }).waitFor();
  await ada.screenshot("lobby");
  await ada.checkBarriers();

  ben = await Person.arrive(browser, line.origin, "ben");
  await ben.page.getByRole("button", { name: "Create account" }).click();
  await ben.page.getByLabel("Username").fill("ada");
  await ben.page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await ben.page.getByRole("button", { name: "Create account" }).click();
  await ben.page.getByText("That username is taken.").waitFor();
  await ben.go("/");
  await ben.signUp();
});

let path: string;

test("two people talk, see each other and see each other type", async () => {
  await ada.page.getByRole("button", { name: "New room" }).first().click();
  await ada.page.getByRole("dialog").waitFor();
  await ada.screenshot("create-room");
  await ada.checkBarriers();
  await ada.page.keyboard.press("Escape");
  path = await ada.createRoom("Reading club", "One chapter a week, spoilers behind the door");
  await ada.screenshot("room-empty");
  await ada.checkBarriers();

  // Ben finds it in the list.
  await ben.page.getByRole("searchbox", { name: "Find a room" }).fill("READING");
  await ben.page.getByRole("link", { name: /Reading club/ }).click();
  await ben.inRoom("Reading club");
  for (const person of [ada, ben]) {
    const people = person.page.getByRole("complementary", { name: "People" });
    await people.getByText("ada", { exact: true }).waitFor();
    await people.getByText("ben", { exact: true }).waitFor();
    await people.getByText("2 online").waitFor();
  }

  await ada.say("Chapter four: who is the narrator talking to?");
  await ben.sees("Chapter four: who is the narrator talking to?");
  await ben.say("Themselves, ten years later.\nSee https://example.org/notes (page 12).");
  await ada.page.getByRole("link", { name: "https://example.org/notes" }).waitFor();
  await ben.field.pressSequentially("Or is");
  await ada.page.getByText("ben is typing").waitFor();
  await ada.screenshot("typing");
  await ben.field.fill("");
});

test("an edit and a deletion appear to the other", async () => {
  await ben.say("a misteak");
  await ada.sees("a misteak");
  await ben.field.press("ArrowUp");
  await ben.page.getByRole("textbox", { name: "Edit message" }).fill("a mistake");
  await ben.page.keyboard.press("Enter");
  await ada.sees("a mistake");
  await ada.message("a mistake").getByText("edited").waitFor();
  expect(await ada.message("a misteak").count()).toBe(0);

  await ben.message("a mistake").hover();
  await ben.message("a mistake").getByRole("button", { name: "Delete" }).click();
  await ben.page.getByRole("dialog", { name: "Delete this message?" }).waitFor();
  await ben.screenshot("delete");
  await ben.checkBarriers();
  await ben.page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await ada.page.getByText("This message was deleted.").waitFor();
  expect(await ada.message("a mistake").count()).toBe(0);
});

test("a cut line loses nothing, doubles nothing and keeps the order", async () => {
  const before = await ada.texts();
  line.cut();
  await ben.page.context().setOffline(true);
  await ben.page.getByText("You are offline.").waitFor();
  const [adas, bens] = [["a1", "a2", "a3"], ["b1", "b2", "b3"]];
  for (const text of adas) await ada.say(text);
  for (const text of bens) await ben.say(text);
  await ben.message("b3").getByText("Waiting to be sent").waitFor();
  await ben.screenshot("offline");
  await ben.checkBarriers();
  await ada.seesExactly([...before, ...adas]);

  line.mend();
  await ben.page.context().setOffline(false);
  const all = [...before, ...adas, ...bens];
  await ben.seesExactly(all);
  await ada.seesExactly(all);
});

test("unsent messages outlive a reload", async () => {
  const before = await ada.texts();
  line.cut();
  await ben.page.getByText("Reconnecting").waitFor();
  await ben.say("written in the dark");
  await ben.message("written in the dark").waitFor();
  line.mend();
  await ben.page.reload();
  await ada.seesExactly([...before, "written in the dark"]);
  await ben.seesExactly([...before, "written in the dark"]);
});

test("a killed server comes back with everything", async () => {
  const before = await ada.texts();
  await ada.say("before the crash");
  await ben.sees("before the crash");
  await server.kill();
  for (const person of [ada, ben]) await person.page.getByText("Reconnecting").waitFor();
  await ada.say("from ada");
  await ben.say("from ben");
  await server.start();
  for (const person of [ada, ben]) {
    await person.sees("from ada");
    await person.sees("from ben");
    await expect.poll(() => person.page.locator("li.message[data-pending]").count(), { timeout: 40_000 }).toBe(0);
  }
  const after = await ada.texts();
  expect(after.slice(0, -2)).toEqual([...before, "before the crash"]);
  expect(after.slice(-2).toSorted()).toEqual(["from ada", "from ben"]);
  expect(await ben.texts()).toEqual(after);
});

test("a reload brings back the session and the history", async () => {
  const before = await ada.texts();
  await ada.page.reload();
  await ada.inRoom("Reading club");
  await ada.seesExactly(before);
  expect(new URL(ada.page.url()).pathname).toBe(path);
});

test("what is said in another room shows as unread", async () => {
  await ada.createRoom("Kitchen", "");
  await ben.say("ada, are you there?");
  await ada.page.getByRole("link", { name: /Reading club.*1 unread/ }).waitFor();
  await ada.screenshot("unread");
  await ada.page.getByRole("link", { name: /Reading club/ }).click();
  await ada.sees("ada, are you there?");
  await expect.poll(() => ada.page.getByText("1 unread").count()).toBe(0);
});

test("history loads as one scrolls up, and the reader stays where they are", async () => {
  const token = await tokenOf("carla");
  const room = await post("/rooms", token, { name: "Archive", topic: "Everything ever said" });
  const said = Array.from({ length: 180 }, (_, index) => `line ${index + 1}${index % 7 === 0 ? "\nand more" : ""}`);
  for (const content of said) await post(`/rooms/${String(room["id"])}/messages`, token, { content });

  await ada.go(`/rooms/${String(room["id"])}`);
  await ada.inRoom("Archive");
  await ada.sees("line 180");
  await ada.checkBarriers();
  const scroller = ada.page.locator(".messages-scroll");
  expect(await scroller.evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight)).toBeLessThan(2);
  expect((await ada.texts()).length).toBeLessThan(180);

  // To the very top: the line at the top edge must not move while older ones come above it.
  await ada.page.getByRole("list", { name: "Messages" }).hover();
  const watched = await scroller.evaluate((box) => {
    box.scrollTop = 0;
    const first = box.querySelector("li.message");
    return { text: first?.textContent, top: first?.getBoundingClientRect().top };
  });
  await expect.poll(async () => (await ada.texts()).length).toBeGreaterThan(60);
  const moved = await scroller.evaluate((box, text) => {
    const same = [...box.querySelectorAll("li.message")].find((one) => one.textContent?.includes(text ?? "?"));
    return same?.getBoundingClientRect().top;
  }, /line \d+/.exec(watched.text ?? "")?.[0]);
  expect(Math.abs((moved ?? 0) - (watched.top ?? 999))).toBeLessThan(60);

  await expect.poll(async () => {
    await scroller.evaluate((box) => (box.scrollTop = 0));
    return ada.texts();
  }, { timeout: 20_000 }).toEqual(said);
  await ada.page.getByRole("heading", { name: /This is where “Archive” begins/ }).waitFor();

  // News while one reads: it is counted, not forced on the reader.
  await scroller.evaluate((box) => (box.scrollTop = 40));
  await post(`/rooms/${String(room["id"])}/messages`, token, { content: "line 181" });
  await ada.page.getByRole("button", { name: "1 new message" }).waitFor();
  expect(await scroller.evaluate((box) => box.scrollTop)).toBe(40);
  await ada.screenshot("history");
  await ada.page.getByRole("button", { name: "1 new message" }).click();
  await expect.poll(() => scroller.evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight)).toBeLessThan(2);
});

test("an unknown room and an unknown page say so", async () => {
  await ada.go("/rooms/999999");
  await ada.page.getByRole("heading", { name: "This room does not exist" }).waitFor();
  await ada.checkBarriers();
  await ada.page.getByRole("button", { name: "Back to the start" }).click();
  await ada.page.getByRole("heading", { name: "Hello, ada" }).waitFor();
  await ada.go("/nowhere");
  await ada.page.getByRole("heading", { name: "There is nothing here" }).waitFor();
});

test("dark, Chinese and on a phone", async () => {
  const mei = await Person.arrive(browser, server.origin, "李小梅", {
    locale: "zh-CN",
    colorScheme: "dark",
    viewport: { width: 390, height: 844 },
    deviceScaleFactor: 2,
    hasTouch: true,
    isMobile: true,
  });
  const { page } = mei;
  await page.getByRole("heading", { name: "欢迎回来" }).waitFor();
  await mei.screenshot("phone-dark-sign-in");
  await mei.checkBarriers();
  await page.getByRole("button", { name: "注册" }).click();
  await page.getByLabel("用户名").fill("李小梅");
  await page.getByLabel("密码", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "注册" }).click();
  await page.getByRole("link", { name: /Reading club/ }).waitFor();
  await mei.screenshot("phone-dark-rooms");
  await mei.checkBarriers();
  await page.getByRole("link", { name: /Reading club/ }).click();
  await page.getByRole("heading", { level: 1, name: "Reading club" }).waitFor();
  const field = page.getByRole("textbox", { name: "发消息到 Reading club" });
  await field.fill("大家好，我也在读第四章。");
  await page.getByRole("button", { name: "发送" }).click();
  await ben.sees("大家好，我也在读第四章。");
  await mei.screenshot("phone-dark-room");
  await mei.checkBarriers();
  await page.getByRole("button", { name: "显示房间列表" }).click();
  await page.getByRole("dialog", { name: "房间" }).waitFor();
  await mei.screenshot("phone-dark-drawer");
  await mei.checkBarriers();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: /^成员/ }).click();
  await page.getByRole("dialog", { name: "成员" }).getByText("ben").waitFor();
  await mei.screenshot("phone-dark-people");
  await mei.checkBarriers();
  expect(mei.complaints).toEqual([]);
  await mei.leave();
});

test("dark at a desk, with preferences", async () => {
  await ada.page.emulateMedia({ colorScheme: "dark" });
  await ada.go(path);
  await ada.inRoom("Reading club");
  await ada.sees("ada, are you there?");
  await ada.screenshot("room-dark");
  await ada.checkBarriers();
  await ada.page.getByRole("button", { name: "Preferences" }).click();
  await ada.page.getByRole("radio", { name: "Light" }).check();
  await ada.screenshot("preferences");
  await ada.checkBarriers();
  await ada.page.getByRole("radio", { name: "中文" }).check();
  await ada.page.getByRole("dialog", { name: "偏好设置" }).waitFor();
  await ada.page.getByRole("radio", { name: "English" }).check();
  await ada.page.keyboard.press("Escape");
  await ada.screenshot("room-light");
  await ada.checkBarriers();
});

test("a new password, and an end to the sessions elsewhere", async () => {
  const elsewhere = await Person.arrive(browser, server.origin, "ada");
  await elsewhere.page.getByLabel("Username").fill("ada");
  await elsewhere.page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await elsewhere.page.getByRole("button", { name: "Sign in" }).click();
  await elsewhere.page.getByRole("heading", { name: "Hello, ada" }).waitFor();

  const { page } = ada;
  await page.getByRole("button", { name: "Preferences" }).click();
  await page.getByText("Where you are signed in").click();
  await page.getByText("Here, now").waitFor();
  await page.getByText("Change password").first().click();
  await page.getByLabel("Current password").fill("not mine at all");
  await page.getByLabel("New password").fill(`${PASSWORD} new`);
  await page.getByRole("button", { name: "Change password" }).click();
  await page.getByText("That is not your present password.").waitFor();
  await ada.screenshot("sessions");
  await ada.checkBarriers();
  await page.getByLabel("Current password").fill(PASSWORD);
  await page.getByRole("button", { name: "Change password" }).click();
  await page.getByText("Your password was changed.").waitFor();

  await elsewhere.page.getByText("You have been signed out.").waitFor();
  expect(elsewhere.complaints).toEqual([]);
  await elsewhere.leave();
  await page.keyboard.press("Escape");
});

test("the way out", async () => {
  await ada.page.getByRole("button", { name: "Preferences" }).click();
  await ada.page.getByRole("button", { name: "Sign out" }).click();
  await ada.page.getByRole("heading", { name: "Welcome back" }).waitFor();
  await ada.page.reload();
  await ada.page.getByRole("heading", { name: "Welcome back" }).waitFor();
  for (const person of [ada, ben]) expect(person.complaints).toEqual([]);
});

async function tokenOf(username: string): Promise<string> {
  const answer = await post("/auth/register", undefined, { username, password: PASSWORD });
  return String(answer["access_token"]);
}

async function post(endpoint: string, token: string | undefined, body: object): Promise<Record<string, unknown>> {
  const response = await fetch(`${server.origin}/api/v1${endpoint}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${endpoint}: ${response.status} ${await response.text()}`);
  return (await response.json()) as Record<string, unknown>;
}
