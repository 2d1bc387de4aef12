/**
 * Where the reader is in a list that grows at both ends. The browser's own anchoring is switched off
 * (it gives up at the very top, where history is loaded), so this is the only one at work.
 */
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import type { Line } from "./lines.ts";

interface Anchor {
  readonly line: Element;
  readonly top: number;
}

/** `sent` is the number of own messages on their way: one more brings the reader to the end. */
export function useScroll(lines: readonly Line[], sent: number) {
  const ref = useRef<HTMLDivElement>(null);
  const [atEnd, setAtEnd] = useState(true);
  const [nearStart, setNearStart] = useState(false);
  const following = useRef(true);
  const anchor = useRef<Anchor>(undefined);
  const sentBefore = useRef(sent);

  const onScroll = useCallback(() => {
    const box = ref.current;
    if (box === null) return;
    following.current = box.scrollHeight - box.scrollTop - box.clientHeight < END_PX;
    anchor.current = findAnchor(box);
    setAtEnd(following.current);
    setNearStart(box.scrollTop < START_PX);
  }, []);

  const toEnd = useCallback(() => {
    const box = ref.current;
    if (box === null) return;
    following.current = true;
    box.scrollTop = box.scrollHeight;
    onScroll();
  }, [onScroll]);

  useLayoutEffect(() => {
    const box = ref.current;
    if (box === null) return;
    if (sent > sentBefore.current) following.current = true;
    sentBefore.current = sent;
    const at = anchor.current;
    if (following.current) box.scrollTop = box.scrollHeight;
    else if (at?.line.isConnected) box.scrollTop += topOf(at.line) - at.top;
    onScroll();
  }, [lines, sent, onScroll]);

  // A keyboard that opens, an edit that grows: the end stays the end.
  useEffect(() => {
    const box = ref.current;
    const content = box?.firstElementChild;
    if (!box || !content) return undefined;
    const observer = new ResizeObserver(() => {
      if (following.current) box.scrollTop = box.scrollHeight;
    });
    observer.observe(box);
    observer.observe(content);
    return () => observer.disconnect();
  }, []);

  return { ref, onScroll, toEnd, atEnd, nearStart };
}

/** The first message that is fully in sight, by halving: they are in order. */
function findAnchor(box: HTMLElement): Anchor | undefined {
  const all = box.getElementsByClassName("message");
  let low = 0;
  let high = all.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    const line = all[middle];
    if (line !== undefined && topOf(line) < box.scrollTop) low = middle + 1;
    else high = middle;
  }
  const line = all[low];
  return line && { line, top: topOf(line) };
}

function topOf(line: Element): number {
  return (line as HTMLElement).offsetTop;
}

/** Closer to the end than this is at the end. */
const END_PX = 48;
/** Closer to the start than this loads what is before it. */
const START_PX = 600;
