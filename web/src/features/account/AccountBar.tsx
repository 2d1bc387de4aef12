import { useState } from "react";
import type { Session, User } from "chatroom-sdk";
import { Avatar } from "../../ui/Avatar.tsx";
import { Button, IconButton } from "../../ui/Button.tsx";
import { Choice } from "../../ui/Choice.tsx";
import { Dialog } from "../../ui/Dialog.tsx";
import { LANGUAGES, useSpeech } from "../../ui/i18n/useTexts.tsx";
import type { Language } from "../../ui/i18n/useTexts.tsx";
import { useTheme } from "../../ui/useTheme.ts";
import "./account.css";

interface AccountBarProps {
  readonly session: Session;
  readonly me: User;
}

/** Who is signed in, how the page looks to them, and the way out. */
export function AccountBar({ session, me }: AccountBarProps) {
  const { texts, language, setLanguage } = useSpeech();
  const [theme, setTheme] = useTheme();
  const [open, setOpen] = useState(false);
  const [leaving, setLeaving] = useState(false);
  const [failed, setFailed] = useState(false);

  const signOut = async () => {
    setLeaving(true);
    setFailed(false);
    try {
      await session.logout();
    } catch {
      setLeaving(false);
      setFailed(true);
    }
  };

  return (
    <footer className="account">
      <Avatar user={me} />
      <span className="account-name">{me.username}</span>
      <IconButton icon="sliders" label={texts.preferences} onClick={() => setOpen(true)} />
      {open && (
        <Dialog title={texts.preferences} onClose={() => setOpen(false)}>
          <div className="form">
            <Choice<Language>
              label={texts.language}
              value={language}
              options={(Object.keys(LANGUAGES) as Language[]).map((code) => [code, LANGUAGES[code].languageName])}
              onChange={setLanguage}
            />
            <Choice
              label={texts.theme}
              value={theme}
              options={[
                ["system", texts.themeSystem],
                ["light", texts.themeLight],
                ["dark", texts.themeDark],
              ]}
              onChange={setTheme}
            />
            {failed && (
              <p className="note note-error" role="alert">
                {texts.signOutFailed}
              </p>
            )}
            <Button icon="leave" busy={leaving} onClick={() => void signOut()}>
              {texts.signOut}
            </Button>
          </div>
        </Dialog>
      )}
    </footer>
  );
}
