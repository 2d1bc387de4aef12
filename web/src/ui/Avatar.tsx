import type { User } from "chatroom-sdk";

/** A user's initials on a colour that is always theirs. The name stands beside it. */
export function Avatar({ user, small = false }: { readonly user: User; readonly small?: boolean }) {
  return (
    <span className="avatar" data-hue={user.id % HUES} data-small={small || undefined} aria-hidden="true">
      {initials(user.username)}
    </span>
  );
}

/** The first letter of the first two parts of a name, or one character of a script without letters' case. */
export function initials(name: string): string {
  const parts = name.split(/[\s._-]+/u).filter((part) => part !== "");
  const first = Array.from(parts[0] ?? name);
  const second = Array.from(parts[1] ?? "");
  if (/\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}/u.test(first[0] ?? "")) {
    return first[0] ?? "";
  }
  return `${first[0] ?? ""}${second[0] ?? first[1] ?? ""}`.toUpperCase();
}

/** As many as the style sheet has colours for. */
const HUES = 8;
