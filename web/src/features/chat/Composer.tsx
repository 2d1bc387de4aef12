import { useEffect, useRef, useState } from "react";
import { IconButton } from "../../ui/Button.tsx";
import { useTexts } from "../../ui/i18n/useTexts.tsx";
import { useAutoGrow } from "../../ui/useAutoGrow.ts";
import { useMedia } from "../../ui/useMedia.ts";

interface ComposerProps {
  readonly roomId: number;
  readonly roomName: string;
  readonly onSend: (content: string) => void;
  readonly onTyping: () => void;
  /** The arrow key up in an empty field: the last own message is to be edited. */
  readonly onEditLast: () => void;
}

/** Where a message is written. What was not sent is still there when one comes back to the room. */
export function Composer({ roomId, roomName, onSend, onTyping, onEditLast }: ComposerProps) {
  const texts = useTexts();
  const [draft, setDraft] = useState(() => drafts.get(roomId) ?? "");
  const input = useRef<HTMLTextAreaElement>(null);
  const touch = useMedia("(pointer: coarse)");
  const over = Array.from(draft).length - CONTENT_MAX;
  const empty = draft.trim() === "";

  useAutoGrow(input, draft);
  useEffect(() => {
    // On a phone the focus would bring up the keyboard over the messages.
    if (!touch) input.current?.focus();
  }, [touch]);

  const change = (text: string) => {
    setDraft(text);
    if (text === "") drafts.delete(roomId);
    else drafts.set(roomId, text);
  };
  const send = () => {
    if (empty || over > 0) return;
    onSend(draft);
    change("");
    input.current?.focus();
  };

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={input}
        className="composer-input"
        rows={1}
        aria-label={texts.writeTo(roomName)}
        placeholder={texts.writeTo(roomName)}
        aria-invalid={over > 0 || undefined}
        value={draft}
        onChange={(event) => {
          change(event.target.value);
          if (event.target.value.trim() !== "") onTyping();
        }}
        onKeyDown={(event) => {
          if (event.nativeEvent.isComposing) return;
          if (event.key === "Enter" && !event.shiftKey && !touch) send();
          else if (event.key === "ArrowUp" && draft === "") onEditLast();
          else return;
          event.preventDefault();
        }}
      />
      {over > -COUNT_FROM && (
        <span className="composer-count" data-over={over > 0 || undefined} role="status">
          {over > 0 ? texts.tooLong(over) : -over}
        </span>
      )}
      <IconButton icon="arrowUp" label={texts.send} look="primary" type="submit" disabled={empty || over > 0} />
    </form>
  );
}

/** What was begun in each room, for as long as the page lives. */
const drafts = new Map<number, string>();

/** Unicode scalar values (PROTOCOL.md section 2). */
const CONTENT_MAX = 4_000;
/** From so many left on, the number left is shown. */
const COUNT_FROM = 200;
