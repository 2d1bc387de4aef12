import { useEffect, useState } from "react";
import { asProblem } from "chatroom-sdk";
import type { Api, Problem, SignedIn } from "chatroom-sdk";
import { Button, IconButton } from "../../ui/Button.tsx";
import { useDates, useTexts } from "../../ui/i18n/useTexts.tsx";
import { problemText } from "../../ui/problemText.ts";
import { nameBrowser } from "./nameBrowser.ts";

/** Where the user is signed in, and how to end that. */
export function Sessions({ api }: { readonly api: Api }) {
  const texts = useTexts();
  const dates = useDates();
  const [sessions, setSessions] = useState<readonly SignedIn[]>();
  const [problem, setProblem] = useState<Problem>();

  /** Grows when the list is to be read again. */
  const [reading, setReading] = useState(0);

  useEffect(() => {
    let gone = false;
    api.sessions().then(
      (list) => !gone && setSessions(list),
      (error: unknown) => !gone && setProblem(asProblem(error)),
    );
    return () => {
      gone = true;
    };
  }, [api, reading]);

  const end = async (id: number | "others") => {
    setProblem(undefined);
    try {
      await api.endSession(id);
    } catch (error) {
      setProblem(asProblem(error));
    }
    setReading((count) => count + 1);
  };

  const others = sessions?.filter((session) => !session.current) ?? [];
  return (
    <div className="form">
      {problem && (
        <p className="note note-error" role="alert">
          {problemText(texts, problem.code)}
        </p>
      )}
      {sessions === undefined && !problem && <span className="spinner" role="status" aria-label={texts.sessions} />}
      <ul className="sessions">
        {sessions?.map((session) => (
          <li key={session.id}>
            <div>
              <p>{nameBrowser(session.user_agent) ?? texts.unknownBrowser}</p>
              <p className="sessions-when">
                {session.current ? texts.thisSession : texts.lastUsed(dates.full(new Date(session.last_used_at)))}
              </p>
            </div>
            {!session.current && (
              <IconButton icon="leave" label={texts.endSession} onClick={() => void end(session.id)} />
            )}
          </li>
        ))}
      </ul>
      {others.length > 1 && (
        <Button icon="leave" onClick={() => void end("others")}>
          {texts.endOthers}
        </Button>
      )}
    </div>
  );
}
