/** A message's text as it was sent; addresses become links, nothing else becomes anything. */
import { memo } from "react";
import type { ReactNode } from "react";

export const RichText = memo(function RichText({ text }: { readonly text: string }) {
  return (
    <p className="message-text" dir="auto" data-large={LARGE.test(text.trim()) || undefined}>
      {linkify(text)}
    </p>
  );
});

function linkify(text: string): ReactNode[] {
  const parts: ReactNode[] = [];
  let from = 0;
  for (const { start, end } of findLinks(text)) {
    parts.push(text.slice(from, start));
    const address = text.slice(start, end);
    parts.push(
      <a key={start} href={address} target="_blank" rel="noopener noreferrer">
        {address}
      </a>,
    );
    from = end;
  }
  parts.push(text.slice(from));
  return parts;
}

/** Where the web addresses are. What closes a sentence or a bracket around one is not part of it. */
export function findLinks(text: string): readonly { readonly start: number; readonly end: number }[] {
  const links = [];
  for (const match of text.matchAll(ADDRESS)) {
    let address = match[0].replace(TAIL, "");
    if (address.endsWith(")") && !address.includes("(")) address = address.slice(0, -1).replace(TAIL, "");
    if (URL.canParse(address)) links.push({ start: match.index, end: match.index + address.length });
  }
  return links;
}

const ADDRESS = /\bhttps?:\/\/[^\s<>"\u3000-\u303f\uff00-\uffef]+/giu;
const TAIL = /[.,:;!?'"\]}*_~]+$/u;
/** A few pictures and nothing else. */
const LARGE = /^(?:\p{Extended_Pictographic}(?:\ufe0f|\u200d\p{Extended_Pictographic}|\p{Emoji_Modifier})*\s?){1,3}$/u;
