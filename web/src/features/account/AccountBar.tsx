import { useState } from "react";
import type { Api, Session, User } from "chatroom-sdk";
import { Avatar } from "../../ui/Avatar.tsx";
import { IconButton } from "../../ui/Button.tsx";
import { useTexts } from "../../ui/i18n/useTexts.tsx";
import { Preferences } from "./Preferences.tsx";
import "./account.css";

interface AccountBarProps {
  readonly session: Session;
  readonly api: Api;
  readonly me: User;
}

/** Who is signed in, and the way to their preferences. */
export function AccountBar({ session, api, me }: AccountBarProps) {
  const texts = useTexts();
  const [open, setOpen] = useState(false);
  return (
    <footer className="account">
      <Avatar user={me} />
      <span className="account-name">{me.username}</span>
      <IconButton icon="sliders" label={texts.preferences} onClick={() => setOpen(true)} />
      {open && <Preferences session={session} api={api} onClose={() => setOpen(false)} />}
    </footer>
  );
}
