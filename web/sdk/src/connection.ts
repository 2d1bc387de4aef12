/**
 * One WebSocket that is always being kept open: authentication, renewal of the token, heartbeats and
 * reconnecting, by PROTOCOL.md sections 3 and 5. Knows nothing of rooms: `ChatClient` gets the
 * frames and is told when a connection is up or gone.
 */
import { backoffMs, closeReaction } from "./closeCode.ts";
import { parseFrame } from "./frames.ts";
import type { ClientFrame, ServerFrame, WelcomeFrame } from "./frames.ts";
import { asProblem } from "./problem.ts";
import type { Session } from "./session.ts";
import { Store } from "./store.ts";

/** What is used of a `WebSocket`: the seam at which tests drive the client. */
export type Socket = Pick<WebSocket, "onopen" | "onmessage" | "onclose" | "close"> & {
  send(text: string): void;
};

export type ConnectionPhase =
  | "idle"
  | "connecting"
  | "open"
  /** Until the next attempt. */
  | "waiting"
  /** Closed with a code after which the contract forbids to try again. */
  | "stopped";

export interface ConnectionState {
  readonly phase: ConnectionPhase;
  /** What the browser believes; a hint, since a server on this machine is reachable without a network. */
  readonly offline: boolean;
  /** Whether this page was connected before. */
  readonly again: boolean;
}

/** Where the frames of a living connection go. */
export interface ConnectionOwner {
  handleUp(welcome: WelcomeFrame): void;
  handleFrame(frame: ServerFrame): void;
  handleDown(): void;
}

export interface Surroundings {
  readonly openSocket: (url: string) => Socket;
  readonly random: () => number;
  /** Says `online`, `offline` and `visibilitychange`; the page's window and document. */
  readonly events: EventTarget;
  readonly isOffline: () => boolean;
}

export class Connection extends Store<ConnectionState> {
  readonly #url: string;
  readonly #session: Session;
  readonly #around: Surroundings;
  readonly #owner: ConnectionOwner;

  #phase: ConnectionPhase = "idle";
  #again = false;
  #socket: Socket | undefined;
  /** Grows with every attempt, so that what belongs to an older one is recognised. */
  #generation = 0;
  /** Attempts since a connection last proved stable: the n of the backoff. */
  #attempt = 0;
  #token = "";
  /** The token of the last attempt, when the server refused it. */
  #refused: string | undefined;
  #byeMs: number | undefined;
  #silenceMs = CONNECT_MS;
  #heardAt = 0;
  #frameId = 0;

  #retryTimer: Timer;
  #silenceTimer: Timer;
  #renewTimer: Timer;
  #stableTimer: Timer;

  constructor(url: string, session: Session, around: Surroundings, owner: ConnectionOwner) {
    super();
    this.#url = url;
    this.#session = session;
    this.#around = around;
    this.#owner = owner;
    around.events.addEventListener("online", () => this.#handleNetwork());
    around.events.addEventListener("offline", () => this.#handleNetwork());
    around.events.addEventListener("visibilitychange", () => this.#probe());
  }

  protected override compose(): ConnectionState {
    return { phase: this.#phase, offline: this.#around.isOffline(), again: this.#again };
  }

  /** Keeps a connection from now on, until `stop`. */
  start(): void {
    if (this.#phase !== "idle") return;
    this.#attempt = 0;
    void this.#connect();
  }

  /** Closes the connection and forgets about it. */
  stop(): void {
    this.#drop();
    this.#refused = undefined;
    this.#again = false;
    this.#become("idle");
  }

  /** Does not wait for the next attempt: somebody is looking. */
  retryNow(): void {
    if (this.#phase === "waiting" || this.#phase === "stopped") void this.#connect();
  }

  /** A number for a frame that wants an answer; unique within the page. */
  nextId(): number {
    this.#frameId += 1;
    return this.#frameId;
  }

  /** Sends a frame; false when there is no connection to send it on. */
  send(frame: ClientFrame): boolean {
    if (this.#phase !== "open" || this.#socket === undefined) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  async #connect(): Promise<void> {
    this.#drop();
    this.#become("connecting");
    const generation = this.#generation;
    let token: string;
    try {
      token = await this.#session.token(30_000, this.#refused);
    } catch (error) {
      if (generation !== this.#generation) return;
      // After a 401 the session is over, and its owner stops this connection.
      if (asProblem(error).status !== 401) this.#retry(asProblem(error).retryAfterMs);
      return;
    }
    if (generation !== this.#generation) return;
    this.#token = token;
    this.#refused = undefined;
    const socket = this.#around.openSocket(this.#url);
    this.#socket = socket;
    this.#heardAt = Date.now();
    this.#watchSilence(CONNECT_MS);
    socket.onopen = () =>
      socket.send(JSON.stringify({ type: "auth", id: this.nextId(), token } satisfies ClientFrame));
    socket.onmessage = (event) => this.#handleText(event.data);
    socket.onclose = (event) => this.#handleClose(event.code);
  }

  #handleText(data: unknown): void {
    this.#heardAt = Date.now();
    const frame = parseFrame(data);
    if (frame === undefined) return;
    if (this.#phase !== "open") this.#handleGreeting(frame);
    else if (frame.type === "ping") this.send({ type: "pong" });
    else if (frame.type === "bye") this.#byeMs = Math.max(0, frame.reconnect_in_ms);
    else this.#owner.handleFrame(frame);
  }

  /** Before `welcome` there is only one other thing to hear: why there will be none. */
  #handleGreeting(frame: ServerFrame): void {
    if (frame.type === "welcome") {
      this.#watchSilence((frame.heartbeat_s + SILENCE_GRACE_S) * 1000);
      this.#scheduleRenewal(frame.expires_in * 1000);
      // A server that greets and hangs up must not be called every half second.
      this.#stableTimer = setTimeout(() => (this.#attempt = 0), STABLE_MS);
      this.#again = true;
      this.#become("open");
      this.#owner.handleUp(frame);
    } else if (frame.type === "error") {
      const refused = frame.code === "unauthorized" || frame.code === "token_expired";
      if (refused) this.#refused = this.#token;
      this.#handleLoss(frame.retry_after_ms);
    } else if (frame.type === "bye") {
      this.#byeMs = Math.max(0, frame.reconnect_in_ms);
    }
  }

  #handleClose(code: number): void {
    const reaction = closeReaction(code);
    if (reaction === "token") this.#refused = this.#token;
    const first = this.#attempt === 0;
    if (reaction === "stop") {
      const up = this.#phase === "open";
      this.#drop();
      this.#become("stopped");
      if (up) this.#owner.handleDown();
    } else {
      this.#handleLoss(this.#byeMs ?? (reaction === "token" && first ? 0 : undefined));
    }
  }

  /** The connection is gone: tries again after `delayMs`, or the backoff. */
  #handleLoss(delayMs?: number): void {
    const up = this.#phase === "open";
    this.#drop();
    this.#retry(delayMs);
    if (up) this.#owner.handleDown();
  }

  #retry(delayMs?: number): void {
    const delay = delayMs ?? backoffMs(this.#attempt, this.#around.random());
    this.#attempt += 1;
    this.#become("waiting");
    this.#retryTimer = setTimeout(() => void this.#connect(), delay);
  }

  /** Lets go of the socket without waiting for it: a dead network never finishes a closing handshake. */
  #drop(): void {
    this.#generation += 1;
    for (const timer of [this.#retryTimer, this.#silenceTimer, this.#renewTimer, this.#stableTimer]) {
      clearTimeout(timer);
    }
    this.#byeMs = undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket === undefined) return;
    socket.onopen = null;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
  }

  /** Gives up the connection when nothing is heard for so long, the time asleep included. */
  #watchSilence(ms: number): void {
    this.#silenceMs = ms;
    this.#checkSilence();
  }

  #checkSilence(): void {
    clearTimeout(this.#silenceTimer);
    const left = this.#heardAt + this.#silenceMs - Date.now();
    if (left <= 0) this.#handleLoss();
    else this.#silenceTimer = setTimeout(() => this.#checkSilence(), left);
  }

  /** Asks a connection that may have died unnoticed for a sign of life. */
  #probe(): void {
    if (!this.send({ type: "ping" })) return;
    const asked = Date.now();
    const generation = this.#generation;
    setTimeout(() => {
      if (generation === this.#generation && this.#heardAt < asked) this.#handleLoss();
    }, PROBE_MS);
  }

  #handleNetwork(): void {
    this.changedNow();
    if (this.#phase === "open") this.#probe();
    else if (this.#phase === "waiting" && !this.#around.isOffline()) {
      this.#attempt = 0;
      void this.#connect();
    }
  }

  /** Renews the token on the living connection well before it expires. */
  #scheduleRenewal(leftMs: number): void {
    clearTimeout(this.#renewTimer);
    const wait = leftMs - Math.min(RENEW_BEFORE_MS, leftMs / 2);
    this.#renewTimer = setTimeout(() => void this.#renew(), clamp(wait));
  }

  async #renew(): Promise<void> {
    const generation = this.#generation;
    try {
      const token = await this.#session.token(RENEW_BEFORE_MS + 5000);
      if (generation !== this.#generation) return;
      this.#token = token;
      this.send({ type: "auth", id: this.nextId(), token });
      this.#scheduleRenewal(this.#session.expiresInMs);
    } catch {
      // The server grants 60 s beyond the expiry; until then, and until its 4401, ask again.
      if (generation === this.#generation) {
        this.#renewTimer = setTimeout(() => void this.#renew(), RENEW_AGAIN_MS);
      }
    }
  }

  #become(phase: ConnectionPhase): void {
    this.#phase = phase;
    this.changedNow();
  }
}

/** At least a second, and within what a timer can count. */
function clamp(ms: number): number {
  return Math.min(Math.max(ms, 1000), 2 ** 31 - 1);
}

type Timer = ReturnType<typeof setTimeout> | undefined;

/** From the attempt to `welcome`: the server's own limit for `auth` is 10 s. */
const CONNECT_MS = 15_000;
/** PROTOCOL.md section 5: `heartbeat_s` and this much more without a word is a dead connection. */
const SILENCE_GRACE_S = 10;
/** A connection that lived this long starts the backoff anew. */
const STABLE_MS = 5_000;
const PROBE_MS = 5_000;
const RENEW_BEFORE_MS = 60_000;
const RENEW_AGAIN_MS = 5_000;
