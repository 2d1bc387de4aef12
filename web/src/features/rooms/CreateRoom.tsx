import { useEffect, useRef, useState } from "react";
import type { FormEvent } from "react";
import { asProblem } from "chatroom-sdk";
import type { Api, Problem, Room } from "chatroom-sdk";
import { Button } from "../../ui/Button.tsx";
import { Dialog } from "../../ui/Dialog.tsx";
import { Field } from "../../ui/Field.tsx";
import { useTexts } from "../../ui/i18n/useTexts.tsx";
import { fieldError, problemText } from "../../ui/problemText.ts";

interface CreateRoomProps {
  readonly api: Api;
  readonly onCreated: (room: Room) => void;
  readonly onClose: () => void;
}

export function CreateRoom({ api, onCreated, onClose }: CreateRoomProps) {
  const texts = useTexts();
  const [name, setName] = useState("");
  const [topic, setTopic] = useState("");
  const [busy, setBusy] = useState(false);
  const [tried, setTried] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  const form = useRef<HTMLFormElement>(null);

  useEffect(() => {
    form.current?.querySelector<HTMLInputElement>("[aria-invalid]")?.focus();
  }, [problem, tried]);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (busy || name.trim() === "") return;
    setBusy(true);
    setProblem(undefined);
    try {
      onCreated(await api.createRoom(topic.trim() === "" ? { name } : { name, topic: topic.trim() }));
    } catch (error) {
      setProblem(asProblem(error));
      setBusy(false);
    }
  };

  const fields = problem?.fields ?? [];
  const nameError =
    (tried && name.trim() === "" ? texts.required : undefined) ??
    (problem?.code === "conflict" ? texts.roomNameTaken : undefined) ??
    fieldError(fields, "name", texts, texts.roomNameRule);
  const topicError = fieldError(fields, "topic", texts, texts.problemTooLarge);
  const general = problem !== undefined && nameError === undefined && topicError === undefined;

  return (
    <Dialog title={texts.createRoomTitle} onClose={onClose}>
      <form ref={form} className="form" onSubmit={(event) => void submit(event)} noValidate>
        {general && (
          <p className="note note-error" role="alert">
            {problemText(texts, problem.code)}
          </p>
        )}
        <Field
          label={texts.roomName}
          name="name"
          data-first-focus
          autoComplete="off"
          maxLength={64}
          required
          value={name}
          onChange={(event) => setName(event.target.value)}
          hint={texts.roomNameRule}
          error={nameError}
        />
        <Field
          label={texts.roomTopic}
          name="topic"
          autoComplete="off"
          maxLength={256}
          value={topic}
          onChange={(event) => setTopic(event.target.value)}
          hint={texts.roomTopicRule}
          error={topicError}
        />
        <div className="form-end">
          <Button onClick={onClose}>{texts.cancel}</Button>
          <Button type="submit" look="primary" busy={busy}>
            {texts.create}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
