import { useLayoutEffect } from "react";
import type { RefObject } from "react";

/** Makes a text area as high as its text, where the style sheet's `field-sizing` cannot. */
export function useAutoGrow(ref: RefObject<HTMLTextAreaElement | null>, text: string): void {
  useLayoutEffect(() => {
    const field = ref.current;
    if (field === null || CSS.supports("field-sizing", "content")) return;
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight}px`;
  }, [ref, text]);
}
