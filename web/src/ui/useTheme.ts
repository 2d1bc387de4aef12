/** Light, dark, or as the system has it: an attribute on the root that the style sheet looks at. */
import { useState } from "react";
import { recall, remember } from "./memory.ts";

export type Theme = "system" | "light" | "dark";

/** Call before the first paint. */
export function applyTheme(): void {
  show(chosen());
}

/** The reader's choice and how to change it. */
export function useTheme(): readonly [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState(chosen);
  return [
    theme,
    (next) => {
      remember(KEY, next === "system" ? undefined : next);
      show(next);
      setTheme(next);
    },
  ];
}

function chosen(): Theme {
  const theme = recall(KEY);
  return theme === "light" || theme === "dark" ? theme : "system";
}

function show(theme: Theme): void {
  if (theme === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset["theme"] = theme;
}

const KEY = "chatroom.theme";
