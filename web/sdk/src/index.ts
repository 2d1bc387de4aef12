/**
 * ChatRoom's protocol client. `connectHere()` in a page of the server's own; `ChatClient` with
 * options of your own elsewhere. Everything that changes is a `Store` of immutable snapshots.
 */
export { connectHere } from "./browser.ts";
export { ChatClient } from "./client.ts";
export type { ClientOptions, Refusal } from "./client.ts";
export type { Api, Message, Room, RoomPage, SignedIn } from "./api.ts";
export type { ConnectionState, Socket } from "./connection.ts";
export type { Seq, User } from "./frames.ts";
export { asProblem, Problem } from "./problem.ts";
export type { FieldProblem } from "./problem.ts";
export type { Deed, Outgoing, RoomSnapshot, RoomStore } from "./room.ts";
export type { Credentials, Session, SessionState } from "./session.ts";
export type { Store } from "./store.ts";
