/**
 * The WebSocket frames of PROTOCOL.md section 3 as types, and the one place where text from the
 * server becomes a frame. Unknown frame types are ignored here, as the contract asks of a client.
 */

/** The number of an event in its room's log: starts at 1, grows by exactly 1. */
export type Seq = number;

/** A user as the server names one. `created_at` comes only with tokens and `/users/me`. */
export interface User {
  readonly id: number;
  readonly username: string;
  readonly created_at?: string;
}

/** A durable change of a room. After a deletion `/events` shows it with `deleted` and no `content`. */
export type RoomEvent = MessageEvent | EditEvent | DeleteEvent;

interface MessageEvent {
  readonly type: "message";
  readonly room_id: number;
  readonly seq: Seq;
  readonly user: User;
  readonly content?: string;
  readonly nonce?: string;
  readonly created_at: string;
  readonly deleted?: true;
}

interface EditEvent {
  readonly type: "edit";
  readonly room_id: number;
  readonly seq: Seq;
  /** The edited message's seq. */
  readonly ref: Seq;
  readonly user: User;
  readonly content?: string;
  readonly created_at: string;
  readonly deleted?: true;
}

interface DeleteEvent {
  readonly type: "delete";
  readonly room_id: number;
  readonly seq: Seq;
  /** The deleted message's seq. */
  readonly ref: Seq;
  readonly user: User;
  readonly created_at: string;
}

export interface WelcomeFrame {
  readonly type: "welcome";
  readonly user: User;
  readonly protocol: number;
  readonly server: string;
  readonly session: string | number;
  readonly heartbeat_s: number;
  /** Seconds until the connection's token expires. */
  readonly expires_in: number;
  readonly features: readonly string[];
  readonly limits: {
    readonly content: number;
    readonly frame: number;
    readonly rooms: number;
    readonly replay: number;
  };
}

export interface JoinedFrame {
  readonly type: "joined";
  readonly id?: number;
  readonly room_id: number;
  readonly epoch: string;
  readonly seq: Seq;
  readonly online: number;
  readonly resumed?: boolean;
  readonly replay?: number;
  readonly reason?: string;
}

export interface AckFrame {
  readonly type: "ack";
  readonly id?: number;
  readonly room_id: number;
  readonly seq: Seq;
  readonly nonce?: string;
  readonly duplicate?: true;
}

export type PresenceFrame =
  | {
      readonly type: "presence";
      readonly room_id: number;
      readonly event: "sync";
      readonly online: number;
      readonly users: readonly User[];
    }
  | {
      readonly type: "presence";
      readonly room_id: number;
      readonly event: "join" | "leave";
      readonly online: number;
      readonly user: User;
    }
  | {
      readonly type: "presence";
      readonly room_id: number;
      readonly event: "count";
      readonly online: number;
    };

export interface ErrorFrame {
  readonly type: "error";
  readonly id?: number;
  readonly room_id?: number;
  readonly code: string;
  readonly message: string;
  readonly retry_after_ms?: number;
}

export type ServerFrame =
  | WelcomeFrame
  | JoinedFrame
  | RoomEvent
  | AckFrame
  | PresenceFrame
  | ErrorFrame
  | { readonly type: "typing"; readonly room_id: number; readonly user: User }
  | { readonly type: "gap"; readonly room_id: number; readonly from: Seq; readonly to: Seq }
  | {
      readonly type: "left";
      readonly id?: number;
      readonly room_id: number;
      readonly reason?: string;
    }
  | { readonly type: "ok"; readonly id?: number }
  | { readonly type: "pong"; readonly id?: number }
  | { readonly type: "ping" }
  | { readonly type: "bye"; readonly reconnect_in_ms: number };

/** One room of a `join` frame; `since` and `epoch` ask for what was missed. */
export interface JoinRequest {
  readonly room_id: number;
  readonly since?: Seq;
  readonly epoch?: string;
}

export type ClientFrame =
  | { readonly type: "auth"; readonly id: number; readonly token: string }
  | { readonly type: "join"; readonly id: number; readonly rooms: readonly JoinRequest[] }
  | { readonly type: "leave"; readonly id: number; readonly room_id: number }
  | {
      readonly type: "message";
      readonly id: number;
      readonly room_id: number;
      readonly content: string;
      readonly nonce: string;
    }
  | {
      readonly type: "edit";
      readonly id: number;
      readonly room_id: number;
      readonly ref: Seq;
      readonly content: string;
      readonly nonce: string;
    }
  | {
      readonly type: "delete";
      readonly id: number;
      readonly room_id: number;
      readonly ref: Seq;
      readonly nonce: string;
    }
  | { readonly type: "typing"; readonly room_id: number }
  | { readonly type: "ping" }
  | { readonly type: "pong" };

/**
 * Reads one text frame. Answers nothing for what is no frame, or one of a type that this version
 * does not know: both are to be ignored.
 */
export function parseFrame(data: unknown): ServerFrame | undefined {
  if (typeof data !== "string") return undefined;
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || !("type" in value)) return undefined;
  const needed = FIELDS.get(String(value.type));
  if (needed === undefined) return undefined;
  const fields = value as Record<string, unknown>;
  for (const [name, type] of needed) if (typeof fields[name] !== type) return undefined;
  return value as ServerFrame;
}

type Need = readonly (readonly [name: string, type: "number" | "string" | "object"])[];

const ROOM = ["room_id", "number"] as const;
const SEQ = ["seq", "number"] as const;
const REF = ["ref", "number"] as const;
const USER = ["user", "object"] as const;

/** Known frame types and the fields that the client could not do without. */
const FIELDS: ReadonlyMap<string, Need> = new Map<string, Need>([
  ["welcome", [USER, ["heartbeat_s", "number"], ["expires_in", "number"]]],
  ["joined", [ROOM, SEQ, ["epoch", "string"]]],
  ["message", [ROOM, SEQ, USER]],
  ["edit", [ROOM, SEQ, REF]],
  ["delete", [ROOM, SEQ, REF]],
  ["ack", [ROOM, SEQ]],
  ["presence", [ROOM, ["event", "string"], ["online", "number"]]],
  ["typing", [ROOM, USER]],
  ["gap", [ROOM, ["from", "number"], ["to", "number"]]],
  ["left", [ROOM]],
  ["error", [["code", "string"]]],
  ["ok", []],
  ["pong", []],
  ["ping", []],
  ["bye", [["reconnect_in_ms", "number"]]],
]);
