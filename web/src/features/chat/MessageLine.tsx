/** One message: who, when, what, and what can be done with it. */
import { memo, useEffect, useMemo, useRef, useState } from "react";
import type { KeyboardEvent } from "react";
import type { Message, Outgoing, User } from "chatroom-sdk";
import { Avatar } from "../../ui/Avatar.tsx";
import { Button, IconButton } from "../../ui/Button.tsx";
import { useDates, useTexts } from "../../ui/i18n/useTexts.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { problemText } from "../../ui/problemText.ts";
import { useAutoGrow } from "../../ui/useAutoGrow.ts";
import { RichText } from "./RichText.tsx";

export interface MessageActions {
  readonly onEdit: (message: Message) => void;
  readonly onSave: (message: Message, content: string) => void;
  readonly onCancel: () => void;
  readonly onDelete: (message: Message) => void;
}

interface MessageLineProps {
  readonly message: Message;
  readonly first: boolean;
  readonly change: Outgoing | undefined;
  readonly own: boolean;
  /** The author, or the room's creator. */
  readonly deletable: boolean;
  readonly editing: boolean;
  /** Where the Tab key stops in the list. */
  readonly active: boolean;
  readonly actions: MessageActions;
}

export const MessageLine = memo(function MessageLine({
  message,
  first,
  change,
  own,
  deletable,
  editing,
  active,
  actions,
}: MessageLineProps) {
  const texts = useTexts();
  const date = useMemo(() => new Date(message.created_at), [message.created_at]);
  const going = change?.deed.kind === "delete";
  const content = change?.deed.kind === "edit" ? change.deed.content : message.content;
  const editable = own && !message.deleted && !going;
  const removable = deletable && !message.deleted && !going;
  const handleKey = (event: KeyboardEvent) => {
    if (event.target !== event.currentTarget) return;
    if (event.key === "e" && editable) actions.onEdit(message);
    else if (event.key === "Delete" && removable) actions.onDelete(message);
    else return;
    event.preventDefault();
  };
  return (
    // The list moves the focus among its lines, as a log of many entries needs.
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-element-interactions
    <li
      className="message"
      data-seq={message.seq}
      data-first={first || undefined}
      data-own={own || undefined}
      data-pending={change !== undefined || undefined}
      // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex
      tabIndex={active ? 0 : -1}
      onKeyDown={handleKey}
    >
      <Lead user={message.user} date={date} first={first} />
      <div className="message-body">
        {first && <Head user={message.user} date={date} />}
        {message.deleted ? (
          <p className="message-gone">
            <Icon name="trash" />
            {texts.deleted}
          </p>
        ) : editing ? (
          <EditForm
            text={content ?? ""}
            onSave={(text) => actions.onSave(message, text)}
            onCancel={actions.onCancel}
          />
        ) : (
          <>
            <RichText text={content ?? ""} />
            {(message.edited_at !== undefined || change !== undefined) && (
              <span className="message-mark">{change ? texts.sending : texts.edited}</span>
            )}
          </>
        )}
      </div>
      {(editable || removable) && !editing && (
        <div className="message-tools" role="group" aria-label={texts.messageActions}>
          {editable && (
            <IconButton
              icon="pencil"
              label={texts.edit}
              tabIndex={active ? 0 : -1}
              onClick={() => actions.onEdit(message)}
            />
          )}
          {removable && (
            <IconButton
              icon="trash"
              label={texts.delete}
              tabIndex={active ? 0 : -1}
              onClick={() => actions.onDelete(message)}
            />
          )}
        </div>
      )}
    </li>
  );
});

interface OutgoingLineProps {
  readonly item: Outgoing;
  readonly first: boolean;
  readonly me: User;
  /** Whether there is a connection to send it on. */
  readonly live: boolean;
  readonly onRetry: (nonce: string) => void;
  readonly onDiscard: (nonce: string) => void;
}

/** An own message on its way. */
export function OutgoingLine({ item, first, me, live, onRetry, onDiscard }: OutgoingLineProps) {
  const texts = useTexts();
  const date = new Date(item.createdAt);
  const refused = item.status === "refused";
  const text = item.deed.kind === "message" ? item.deed.content : "";
  return (
    <li
      className="message"
      data-first={first || undefined}
      data-own
      data-pending={!refused || undefined}
      data-refused={refused || undefined}
      data-nonce={item.nonce}
    >
      <Lead user={me} date={date} first={first} />
      <div className="message-body">
        {first && <Head user={me} date={date} />}
        <RichText text={text} />
        {refused ? (
          <div className="message-refused">
            <span>{texts.notSent(problemText(texts, item.code ?? ""))}</span>
            <Button icon="retry" onClick={() => onRetry(item.nonce)}>
              {texts.retry}
            </Button>
            <Button icon="trash" onClick={() => onDiscard(item.nonce)}>
              {texts.discard}
            </Button>
          </div>
        ) : (
          <span className="message-mark message-mark-late">
            <Icon name="clock" />
            {live ? texts.sending : texts.waitingToSend}
          </span>
        )}
      </div>
    </li>
  );
}

function Lead({ user, date, first }: { readonly user: User; readonly date: Date; readonly first: boolean }) {
  const dates = useDates();
  return (
    <div className="message-lead">
      {first ? (
        <Avatar user={user} />
      ) : (
        <time className="message-time" dateTime={date.toISOString()} title={dates.full(date)}>
          {dates.time(date)}
        </time>
      )}
    </div>
  );
}

function Head({ user, date }: { readonly user: User; readonly date: Date }) {
  const dates = useDates();
  return (
    <header className="message-head">
      <span className="message-author" data-hue={user.id % 8}>
        {user.username}
      </span>
      <time dateTime={date.toISOString()} title={dates.full(date)}>
        {dates.time(date)}
      </time>
    </header>
  );
}

interface EditFormProps {
  readonly text: string;
  readonly onSave: (text: string) => void;
  readonly onCancel: () => void;
}

function EditForm({ text, onSave, onCancel }: EditFormProps) {
  const texts = useTexts();
  const [draft, setDraft] = useState(text);
  const input = useRef<HTMLTextAreaElement>(null);
  useAutoGrow(input, draft);
  useEffect(() => {
    const field = input.current;
    field?.focus();
    field?.setSelectionRange(field.value.length, field.value.length);
  }, []);
  const save = () => {
    if (draft.trim() === "" || draft === text) onCancel();
    else onSave(draft);
  };
  return (
    <form
      className="edit-form"
      onSubmit={(event) => {
        event.preventDefault();
        save();
      }}
    >
      <textarea
        ref={input}
        aria-label={texts.editMessage}
        rows={1}
        value={draft}
        onChange={(event) => setDraft(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") onCancel();
          else if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) save();
          else return;
          event.preventDefault();
          event.stopPropagation();
        }}
      />
      <div className="edit-end">
        <span>{texts.editHint}</span>
        <Button onClick={onCancel}>{texts.cancel}</Button>
        <Button type="submit" look="primary">
          {texts.save}
        </Button>
      </div>
    </form>
  );
}
