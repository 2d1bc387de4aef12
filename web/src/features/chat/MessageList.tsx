/**
 * The scrolling list of messages. Stays at the newest while the reader is there; keeps what they
 * look at in its place otherwise, whatever is added above or below; loads more at the top.
 */
import { useCallback, useEffect, useMemo, useState } from "react";
import type { KeyboardEvent } from "react";
import type { Message, RoomSnapshot, RoomStore, Seq, User } from "chatroom-sdk";
import { Button } from "../../ui/Button.tsx";
import { useDates, useTexts } from "../../ui/i18n/useTexts.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { makeLines } from "./lines.ts";
import type { Line } from "./lines.ts";
import { MessageLine, OutgoingLine } from "./MessageLine.tsx";
import type { MessageActions } from "./MessageLine.tsx";
import { useScroll } from "./useScroll.ts";

interface MessageListProps {
  readonly room: RoomStore;
  readonly state: RoomSnapshot;
  readonly me: User;
  readonly editing: Seq | undefined;
  readonly actions: MessageActions;
}

export function MessageList({ room, state, me, editing, actions }: MessageListProps) {
  const texts = useTexts();
  const { messages, outgoing, hasOlder, loadingOlder } = state;
  const unreadAfter = useUnreadMark(state);
  const lines = useMemo(
    () => makeLines(messages, outgoing, me, unreadAfter),
    [messages, outgoing, me, unreadAfter],
  );
  const { ref, onScroll, toEnd, atEnd, nearStart } = useScroll(lines, outgoing.length);
  const [active, setActive] = useState<Seq>();
  const lastSeq = messages.at(-1)?.seq;
  const stop = messages.some((message) => message.seq === active) ? active : lastSeq;
  const creator = state.room?.created_by === me.id;

  useAttention(atEnd, useCallback(() => room.markRead(), [room]), messages);
  useEffect(() => {
    if (atEnd) room.trim();
  }, [atEnd, room, messages]);
  useEffect(() => {
    if (nearStart && hasOlder && !loadingOlder && state.problem === undefined) room.loadOlder();
  }, [nearStart, hasOlder, loadingOlder, room, state.problem]);

  return (
    <div className="messages">
      {/* oxlint-disable-next-line jsx-a11y/no-static-element-interactions */}
      <div
        className="messages-scroll"
        ref={ref}
        onScroll={onScroll}
        onKeyDown={move}
        onFocus={(event) => {
          const seq = Number((event.target as Element).closest<HTMLElement>("[data-seq]")?.dataset["seq"]);
          if (Number.isSafeInteger(seq)) setActive(seq);
        }}
      >
        <div className="messages-content">
          <div className="messages-top">
            {hasOlder ? (
              <Button busy={loadingOlder} onClick={() => room.loadOlder()}>
                {loadingOlder ? texts.loadingOlder : texts.loadOlder}
              </Button>
            ) : (
              state.room && (
                <div className="beginning">
                  <Icon name="door" />
                  <h2>{texts.beginning(state.room.name)}</h2>
                  <p>{texts.beginningText}</p>
                </div>
              )
            )}
          </div>
          <ol className="messages-list" aria-label={texts.messages}>
            {lines.map((line) => (
              <LineView
                key={line.key}
                line={line}
                me={me}
                live={state.live}
                creator={creator}
                editing={editing}
                stop={stop}
                actions={actions}
                room={room}
              />
            ))}
          </ol>
        </div>
      </div>
      {!atEnd && (
        <button type="button" className="jump" data-news={state.unread > 0 || undefined} onClick={toEnd}>
          <Icon name="arrowDown" />
          {state.unread > 0 ? texts.jumpToUnread(state.unread) : texts.jumpToNewest}
        </button>
      )}
      <Announcer messages={messages} me={me} />
    </div>
  );
}

interface LineViewProps {
  readonly line: Line;
  readonly me: User;
  readonly live: boolean;
  readonly creator: boolean;
  readonly editing: Seq | undefined;
  readonly stop: Seq | undefined;
  readonly actions: MessageActions;
  readonly room: RoomStore;
}

function LineView({ line, me, live, creator, editing, stop, actions, room }: LineViewProps) {
  const texts = useTexts();
  const dates = useDates();
  switch (line.kind) {
    case "day":
      return (
        <li className="day">
          <time dateTime={line.date.toISOString().slice(0, 10)}>{dates.day(line.date)}</time>
        </li>
      );
    case "unread":
      return (
        <li className="unread-mark">
          <span>{texts.newMessages}</span>
        </li>
      );
    case "message": {
      const { message } = line;
      const own = message.user.id === me.id;
      return (
        <MessageLine
          message={message}
          first={line.first}
          change={line.change}
          own={own}
          deletable={own || creator}
          editing={editing === message.seq}
          active={stop === message.seq}
          actions={actions}
        />
      );
    }
    case "outgoing":
      return (
        <OutgoingLine
          item={line.item}
          first={line.first}
          me={me}
          live={live}
          onRetry={(nonce) => room.retry(nonce)}
          onDiscard={(nonce) => room.discard(nonce)}
        />
      );
  }
}

/** Reads a new message of somebody else out, once. */
function Announcer({ messages, me }: { readonly messages: readonly Message[]; readonly me: User }) {
  const texts = useTexts();
  const [since] = useState(messages.at(-1)?.seq ?? 0);
  const last = messages.at(-1);
  const news = last !== undefined && last.seq > since && last.user.id !== me.id && last.content !== undefined;
  return (
    <p className="hidden" aria-live="polite">
      {news ? texts.said(last.user.username, last.content ?? "") : ""}
    </p>
  );
}

/** After which seq the mark of what is new stands: set when the reader was not looking, gone once they answer. */
function useUnreadMark(state: RoomSnapshot): Seq | undefined {
  const [mark, setMark] = useState<Seq | undefined>(() =>
    state.unread > 0 && state.readSeq > 0 ? state.readSeq : undefined,
  );
  const { unread, readSeq, outgoing } = state;
  const [seen, setSeen] = useState({ unread, outgoing: outgoing.length });
  if (seen.unread !== unread || seen.outgoing !== outgoing.length) {
    setSeen({ unread, outgoing: outgoing.length });
    if (outgoing.length > seen.outgoing) setMark(undefined);
    else if (seen.unread === 0 && unread > 0 && !document.hasFocus()) setMark(readSeq);
  }
  return mark;
}

/** Calls `read` whenever the newest messages are on the screen and somebody is there to see them. */
function useAttention(atEnd: boolean, read: () => void, messages: readonly Message[]): void {
  useEffect(() => {
    if (!atEnd) return undefined;
    const look = () => {
      if (!document.hidden && document.hasFocus()) read();
    };
    look();
    window.addEventListener("focus", look);
    document.addEventListener("visibilitychange", look);
    return () => {
      window.removeEventListener("focus", look);
      document.removeEventListener("visibilitychange", look);
    };
  }, [atEnd, read, messages]);
}

/** Moves the focus from one message to another. */
function move(event: KeyboardEvent<HTMLElement>): void {
  const line = (event.target as Element).closest<HTMLElement>(".message");
  if (line === null || event.target !== line) return;
  const all = [...event.currentTarget.querySelectorAll<HTMLElement>(".message[data-seq]")];
  const next = all[nextIndex(event.key, all.indexOf(line), all.length) ?? -1];
  if (next === undefined) return;
  event.preventDefault();
  next.focus();
}

function nextIndex(key: string, at: number, count: number): number | undefined {
  switch (key) {
    case "ArrowUp":
      return at - 1;
    case "ArrowDown":
      return at + 1;
    case "Home":
      return 0;
    case "End":
      return count - 1;
    default:
      return undefined;
  }
}
