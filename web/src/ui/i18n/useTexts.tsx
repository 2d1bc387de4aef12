/**
 * The language of the interface: the texts in it, and dates written its way. Chosen by the reader,
 * else by the browser; remembered where the browser allows it.
 */
import { createContext, use, useEffect, useMemo, useState } from "react";
import type { ReactNode } from "react";
import { recall, remember } from "../memory.ts";
import { en } from "./en.ts";
import type { Texts } from "./en.ts";
import { zh } from "./zh.ts";

export const LANGUAGES = { en, zh } as const;

export type Language = keyof typeof LANGUAGES;

interface Speech {
  readonly language: Language;
  readonly setLanguage: (language: Language) => void;
  readonly texts: Texts;
}

const SpeechContext = createContext<Speech | undefined>(undefined);

/** Gives all below it their language. */
export function LanguageProvider({ children }: { readonly children: ReactNode }) {
  const [language, setLanguage] = useState(initial);
  useEffect(() => {
    document.documentElement.lang = language === "zh" ? "zh-CN" : language;
  }, [language]);
  const speech = useMemo<Speech>(
    () => ({
      language,
      setLanguage: (next) => {
        remember(KEY, next);
        setLanguage(next);
      },
      texts: LANGUAGES[language],
    }),
    [language],
  );
  return <SpeechContext value={speech}>{children}</SpeechContext>;
}

/** The texts in the reader's language. */
export function useTexts(): Texts {
  return useSpeech().texts;
}

/** The language and how to change it. */
export function useSpeech(): Speech {
  const speech = use(SpeechContext);
  if (speech === undefined) throw new Error("no LanguageProvider above");
  return speech;
}

/** Writes times and days the reader's way; days near today by name. */
export function useDates() {
  const { language, texts } = useSpeech();
  return useMemo(() => {
    const locale = language === "zh" ? "zh-CN" : navigator.language.startsWith("en") ? navigator.language : "en-GB";
    const time = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
    const full = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "short" });
    const near = new Intl.DateTimeFormat(locale, { weekday: "long", month: "long", day: "numeric" });
    const far = new Intl.DateTimeFormat(locale, { year: "numeric", month: "long", day: "numeric" });
    return {
      time: (date: Date) => time.format(date),
      full: (date: Date) => full.format(date),
      day: (date: Date) => {
        const now = new Date();
        const days = dayNumber(now) - dayNumber(date);
        if (days === 0) return texts.today;
        if (days === 1) return texts.yesterday;
        return date.getFullYear() === now.getFullYear() ? near.format(date) : far.format(date);
      },
    };
  }, [language, texts]);
}

function dayNumber(date: Date): number {
  return Math.round(new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime() / 86_400_000);
}

function initial(): Language {
  const chosen = recall(KEY);
  if (chosen === "en" || chosen === "zh") return chosen;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

const KEY = "chatroom.language";
