import { useState } from "react";
import type { FormEvent } from "react";
import { asProblem } from "chatroom-sdk";
import type { Api, Problem } from "chatroom-sdk";
import { Button } from "../../ui/Button.tsx";
import { Field } from "../../ui/Field.tsx";
import { useTexts } from "../../ui/i18n/useTexts.tsx";
import { fieldError, problemText } from "../../ui/problemText.ts";

/** A new password; all other sessions end with it. */
export function PasswordForm({ api }: { readonly api: Api }) {
  const texts = useTexts();
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const [busy, setBusy] = useState(false);
  const [tried, setTried] = useState(false);
  const [done, setDone] = useState(false);
  const [problem, setProblem] = useState<Problem>();

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (busy || current === "" || next === "") return;
    setBusy(true);
    setDone(false);
    setProblem(undefined);
    try {
      await api.changePassword({ current, new: next });
      setCurrent("");
      setNext("");
      setTried(false);
      setDone(true);
    } catch (error) {
      setProblem(asProblem(error));
    }
    setBusy(false);
  };

  const missing = (value: string) => (tried && value === "" ? texts.required : undefined);
  const currentError = missing(current) ?? (problem?.code === "forbidden" ? texts.wrongCurrent : undefined);
  const nextError = missing(next) ?? fieldError(problem?.fields ?? [], "new", texts, texts.passwordRule);
  return (
    <form className="form" onSubmit={(event) => void submit(event)} noValidate>
      <Field
        label={texts.currentPassword}
        type="password"
        autoComplete="current-password"
        maxLength={256}
        value={current}
        onChange={(event) => setCurrent(event.target.value)}
        error={currentError}
      />
      <Field
        label={texts.newPassword}
        type="password"
        autoComplete="new-password"
        maxLength={256}
        value={next}
        onChange={(event) => setNext(event.target.value)}
        hint={texts.passwordRule}
        error={nextError}
      />
      {problem !== undefined && currentError === undefined && nextError === undefined && (
        <p className="note note-error" role="alert">
          {problemText(texts, problem.code)}
        </p>
      )}
      {done && (
        <p className="note" role="status">
          {texts.passwordChanged}
        </p>
      )}
      <Button type="submit" look="primary" busy={busy}>
        {texts.changePassword}
      </Button>
    </form>
  );
}
