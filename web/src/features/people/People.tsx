import type { User } from "chatroom-sdk";
import { Avatar } from "../../ui/Avatar.tsx";
import { IconButton } from "../../ui/Button.tsx";
import { useTexts } from "../../ui/i18n/useTexts.tsx";
import "./people.css";

interface PeopleProps {
  readonly online: number;
  /** Absent while unknown, and in a room too large to name everybody. */
  readonly users: readonly User[] | undefined;
  readonly me: User;
  readonly onClose?: (() => void) | undefined;
}

/** Who is in the room now. */
export function People({ online, users, me, onClose }: PeopleProps) {
  const texts = useTexts();
  const named = users ?? [];
  const more = online - named.length;
  return (
    <div className="people">
      <header className="people-head">
        <h2>{texts.people}</h2>
        <span className="people-count">{texts.online(online)}</span>
        {onClose && <IconButton icon="close" label={texts.close} onClick={onClose} />}
      </header>
      {/* A list that scrolls must be reachable by key. */}
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <ul className="people-list" tabIndex={0} aria-label={texts.people}>
        {named.map((user) => (
          <li key={user.id}>
            <Avatar user={user} small />
            <span className="people-name">{user.username}</span>
            {user.id === me.id && <span className="people-me">{texts.you}</span>}
          </li>
        ))}
        {named.length > 0 && more > 0 && <li className="people-more">{texts.peopleMore(more)}</li>}
      </ul>
    </div>
  );
}
