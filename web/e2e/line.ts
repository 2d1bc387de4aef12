/**
 * A line between a browser and the server that a test can cut: a TCP relay. The browser's own offline
 * mode leaves open sockets alone, and a cable does not.
 */
import { createServer, connect } from "node:net";
import type { AddressInfo, Server as NetServer, Socket } from "node:net";
import { once } from "node:events";

export class Line {
  readonly #target: () => number;
  readonly #sockets = new Set<Socket>();
  readonly #server: NetServer;
  #cut = false;

  /** `target` tells the server's port; it may not be known yet. */
  constructor(target: () => number) {
    this.#target = target;
    this.#server = createServer((near) => {
      this.#keep(near);
      if (this.#cut) {
        near.destroy();
        return;
      }
      const far = connect(this.#target(), "127.0.0.1");
      this.#keep(far);
      near.pipe(far).pipe(near);
      near.on("close", () => far.destroy());
      far.on("close", () => near.destroy());
    });
  }

  async open(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Breaks every connection and lets no new one through. */
  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#cut = false;
  }

  close(): void {
    this.cut();
    this.#server.close();
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => socket.destroy());
  }
}
