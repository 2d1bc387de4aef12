import { useCallback, useEffect, useMemo, useState } from "react";
import type { ReactNode } from "react";
import type { Message, RoomStore, Seq, User } from "chatroom-sdk";
import { Button, IconButton } from "../../ui/Button.tsx";
import { Dialog } from "../../ui/Dialog.tsx";
import { useTexts } from "../../ui/i18n/useTexts.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { Logo } from "../../ui/Logo.tsx";
import { useStore } from "../../ui/useStore.ts";
import { Composer } from "./Composer.tsx";
import type { MessageActions } from "./MessageLine.tsx";
import { MessageList } from "./MessageList.tsx";
import "./chat.css";
import "./message.css";

interface ChatProps {
  readonly room: RoomStore;
  readonly me: User;
  /** What stands before the room's name. */
  readonly lead: ReactNode;
  /** Whether the list of people stands beside; absent where it opens over the page. */
  readonly peopleShown: boolean | undefined;
  readonly onPeople: () => void;
  readonly onLeave: () => void;
  /** The reader has seen that there is no such room. */
  readonly onGone: () => void;
}

/** One room: its head, its messages, who is typing, and the field to write in. */
export function Chat({ room, me, lead, peopleShown, onPeople, onLeave, onGone }: ChatProps) {
  const texts = useTexts();
  const state = useStore(room);
  const [editing, setEditing] = useState<Seq>();
  const [deleting, setDeleting] = useState<Message>();

  useEffect(() => {
    room.open();
    return () => room.close();
  }, [room]);

  const name = state.room?.name ?? "";
  const { unread } = state;
  useEffect(() => {
    document.title = `${unread > 0 ? `(${unread}) ` : ""}${name === "" ? "" : `${name} · `}ChatRoom`;
  }, [name, unread]);

  const stopEditing = useCallback(() => {
    setEditing(undefined);
    document.querySelector<HTMLElement>(".composer-input")?.focus();
  }, []);
  const actions = useMemo<MessageActions>(
    () => ({
      onEdit: (message) => setEditing(message.seq),
      onSave: (message, content) => {
        room.edit(message.seq, content);
        stopEditing();
      },
      onCancel: stopEditing,
      onDelete: setDeleting,
    }),
    [room, stopEditing],
  );

  if (state.phase === "gone") return <Gone lead={lead} onGone={onGone} />;
  return (
    <main className="chat">
      <header className="chat-head">
        {lead}
        <div className="chat-title">
          <h1>{name}</h1>
          {state.room?.topic && <p title={state.room.topic}>{state.room.topic}</p>}
        </div>
        <button
          type="button"
          className="people-button"
          title={texts.people}
          aria-pressed={peopleShown}
          onClick={onPeople}
        >
          <Icon name="people" />
          <span aria-hidden="true">{state.online}</span>
          <span className="hidden">{`${texts.people}: ${texts.online(state.online)}`}</span>
        </button>
        <IconButton icon="leave" label={texts.leaveRoom} onClick={onLeave} />
      </header>
      {state.phase === "loading" ? (
        <div className="chat-loading" role="status">
          <span className="spinner" />
          <p>{state.problem ? texts.loadingFailed : texts.loadingMessages}</p>
        </div>
      ) : (
        <MessageList room={room} state={state} me={me} editing={editing} actions={actions} />
      )}
      <div className="chat-foot">
        <TypingLine users={state.typing} />
        <Composer
          roomId={room.id}
          roomName={name}
          onSend={(content) => room.send(content)}
          onTyping={() => room.typing()}
          onEditLast={() => {
            const last = state.messages.findLast((message) => message.user.id === me.id && !message.deleted);
            if (last) setEditing(last.seq);
          }}
        />
      </div>
      {deleting && (
        <DeleteDialog
          message={deleting}
          me={me}
          onClose={() => setDeleting(undefined)}
          onDelete={() => {
            room.delete(deleting.seq);
            setDeleting(undefined);
          }}
        />
      )}
    </main>
  );
}

function TypingLine({ users }: { readonly users: readonly User[] }) {
  const texts = useTexts();
  return (
    <p className="typing" role="status">
      {users.length > 0 && (
        <>
          <span className="typing-dots" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
          {texts.typing(users.map((user) => user.username))}
        </>
      )}
    </p>
  );
}

interface DeleteDialogProps {
  readonly message: Message;
  readonly me: User;
  readonly onClose: () => void;
  readonly onDelete: () => void;
}

function DeleteDialog({ message, me, onClose, onDelete }: DeleteDialogProps) {
  const texts = useTexts();
  const own = message.user.id === me.id;
  return (
    <Dialog title={texts.deleteTitle} onClose={onClose}>
      <div className="form">
        <blockquote className="quote">{message.content}</blockquote>
        <p>{own ? texts.deleteText : texts.deleteOfOther(message.user.username)}</p>
        <div className="form-end">
          <Button data-first-focus onClick={onClose}>
            {texts.cancel}
          </Button>
          <Button look="danger" onClick={onDelete}>
            {texts.delete}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}

function Gone({ lead, onGone }: { readonly lead: ReactNode; readonly onGone: () => void }) {
  const texts = useTexts();
  return (
    <main className="lobby">
      {lead && <div className="lobby-head">{lead}</div>}
      <div className="lobby-body">
        <Logo />
        <h1>{texts.roomGoneTitle}</h1>
        <p>{texts.roomGoneText}</p>
        <Button look="primary" onClick={onGone}>
          {texts.toRooms}
        </Button>
      </div>
    </main>
  );
}
