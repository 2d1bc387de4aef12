/** Somebody with a browser of their own: what people do in ChatRoom, in words. */
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import axe from "axe-core";
import type { Browser, BrowserContextOptions, Locator, Page } from "playwright-core";
import { expect } from "vitest";

const SCREENSHOTS = resolve(process.env["SCREENSHOTS"] ?? "e2e/out");
export const PASSWORD = "correct horse battery 9";

export class Person {
  readonly name: string;
  readonly page: Page;
  /** What the browser complained about: exceptions, and anything the content policy stopped. */
  readonly complaints: string[] = [];
  readonly #origin: string;

  static async arrive(browser: Browser, origin: string, name: string, options: BrowserContextOptions = {}) {
    const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1280, height: 800 }, ...options });
    const person = new Person(name, await context.newPage(), origin);
    await person.go("/");
    return person;
  }

  private constructor(name: string, page: Page, origin: string) {
    this.name = name;
    this.page = page;
    this.#origin = origin;
    page.setDefaultTimeout(15_000);
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (message) => {
      if (/Content.Security.Policy|Refused to/i.test(message.text())) this.complaints.push(message.text());
    });
  }

  async go(path: string): Promise<void> {
    await this.page.goto(this.#origin + path);
  }

  async signUp(): Promise<void> {
    await this.page.getByRole("button", { name: "Create account" }).click();
    await this.page.getByLabel("Username").fill(this.name);
    await this.page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await this.page.getByRole("button", { name: "Create account" }).click();
    await this.page.getByRole("heading", { name: `Hello, ${this.name}` }).waitFor();
  }

  async createRoom(name: string, topic: string): Promise<string> {
    await this.page.getByRole("button", { name: "New room" }).first().click();
    await this.page.getByLabel("Name", { exact: true }).fill(name);
    await this.page.getByLabel("Topic").fill(topic);
    await this.page.getByRole("button", { name: "Create room" }).click();
    await this.inRoom(name);
    return new URL(this.page.url()).pathname;
  }

  async inRoom(name: string): Promise<void> {
    await this.page.getByRole("heading", { level: 1, name }).waitFor();
    await this.field.waitFor();
  }

  get field(): Locator {
    return this.page.getByRole("textbox", { name: /^Message / });
  }

  /** A message with exactly this text. */
  message(text: string): Locator {
    return this.page.locator("li.message", { has: this.page.getByText(text, { exact: true }) });
  }

  async say(text: string): Promise<void> {
    await this.field.fill(text);
    await this.field.press("Enter");
  }

  async sees(text: string): Promise<void> {
    await this.message(text).first().waitFor();
  }

  /** The texts on the screen, in order. */
  texts(): Promise<string[]> {
    return this.page.locator("li.message .message-text").allTextContents();
  }

  /** All these texts, once each and in this order, with nothing of them on its way any more. */
  async seesExactly(texts: readonly string[]): Promise<void> {
    await expect.poll(() => this.texts(), { timeout: 20_000 }).toEqual(texts);
    await expect.poll(() => this.page.locator("li.message[data-pending]").count(), { timeout: 20_000 }).toBe(0);
  }

  async screenshot(name: string): Promise<void> {
    mkdirSync(SCREENSHOTS, { recursive: true });
    await this.#rest();
    await this.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
  }

  /** Looks for barriers that keep people out: none that axe calls serious or critical may be there. */
  async checkBarriers(): Promise<void> {
    await this.#rest();
    await this.page.evaluate(axe.source);
    const found = await this.page.evaluate(async () => {
      const { violations } = await (window as unknown as { axe: typeof axe }).axe.run();
      return violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.map((node) => `${node.html} ${node.failureSummary}`) }));
    });
    expect(found.filter(({ impact }) => impact === "serious" || impact === "critical")).toEqual([]);
  }

  async leave(): Promise<void> {
    await this.page.context().close();
  }

  /** Until what moves in has come to rest; what moves for ever does not count. */
  async #rest(): Promise<void> {
    await this.page.evaluate(async () => {
      const moves = document.getAnimations().filter((one) => one.effect?.getTiming().iterations === 1);
      await Promise.allSettled(moves.map((one) => one.finished));
    });
  }
}
