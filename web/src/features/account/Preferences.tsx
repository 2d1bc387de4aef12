import { useState } from "react";
import type { ReactNode } from "react";
import type { Api, Session } from "chatroom-sdk";
import { Button } from "../../ui/Button.tsx";
import { Choice } from "../../ui/Choice.tsx";
import { Dialog } from "../../ui/Dialog.tsx";
import { LANGUAGES, useSpeech } from "../../ui/i18n/useTexts.tsx";
import type { Language } from "../../ui/i18n/useTexts.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { useTheme } from "../../ui/useTheme.ts";
import { PasswordForm } from "./PasswordForm.tsx";
import { Sessions } from "./Sessions.tsx";

interface PreferencesProps {
  readonly session: Session;
  readonly api: Api;
  readonly onClose: () => void;
}

/** How the page looks, how the account is kept safe, and the way out. */
export function Preferences({ session, api, onClose }: PreferencesProps) {
  const { texts, language, setLanguage } = useSpeech();
  const [theme, setTheme] = useTheme();
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
    <Dialog title={texts.preferences} onClose={onClose}>
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
        <div className="folds">
          <Fold title={texts.changePassword}>
            <PasswordForm api={api} />
          </Fold>
          <Fold title={texts.sessions}>
            <Sessions api={api} />
          </Fold>
        </div>
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
  );
}

/** Something seldom needed, and only loaded then. */
function Fold({ title, children }: { readonly title: string; readonly children: ReactNode }) {
  const [open, setOpen] = useState(false);
  return (
    <details className="fold" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        {title}
        <Icon name="chevron" />
      </summary>
      {open && <div className="fold-body">{children}</div>}
    </details>
  );
}
