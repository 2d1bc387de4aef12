/** The real server as a child process, on a database of its own in a fresh directory. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const BINARY = resolve(process.env["CHATROOM_BIN"] ?? "../target/release/chatroom");

export class Server {
  readonly #directory = mkdtempSync(join(tmpdir(), "chatroom-e2e-"));
  /** Other addresses from which a browser may come. */
  readonly #origins: readonly string[];
  #child: ChildProcess | undefined;
  #output = "";
  port = 0;

  constructor(origins: readonly string[]) {
    if (!existsSync(BINARY)) throw new Error(`no server at ${BINARY}: build it, or set CHATROOM_BIN`);
    this.#origins = origins;
  }

  get origin(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts the server, on the port it had before if it had one, and waits until it is ready. */
  async start(): Promise<void> {
    const portFile = join(this.#directory, "port");
    rmSync(portFile, { force: true });
    const child = spawn(BINARY, ["serve"], {
      cwd: this.#directory,
      env: {
        PATH: process.env["PATH"],
        CHATROOM_APP_PORT: String(this.port),
        CHATROOM_PORT_FILE: portFile,
        CHATROOM_RATE_LIMIT: "off",
        CHATROOM_ALLOWED_ORIGINS: this.#origins.join(","),
        DATABASE_DSN: `sqlite://${join(this.#directory, "chat.db")}`,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data: Buffer) => (this.#output = (this.#output + data.toString()).slice(-8_000)));
    }
    const deadline = Date.now() + 20_000;
    for (;;) {
      if (child.exitCode !== null || Date.now() > deadline) {
        throw new Error(`the server did not start:\n${this.#output}`);
      }
      const port = existsSync(portFile) ? /(\d+)\s*$/.exec(readFileSync(portFile, "utf8"))?.[1] : undefined;
      if (port !== undefined) {
        this.port = Number(port);
        const ready = await fetch(`${this.origin}/readyz`).catch(() => undefined);
        if (ready?.ok) return;
      }
      await sleep(20);
    }
  }

  /** Ends the process at once, as a crash would. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  /** Ends the process and removes its directory. */
  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
