import { useEffect, useRef, useState } from "react";
import type { FormEvent } from "react";
import { asProblem } from "chatroom-sdk";
import type { Problem, Session } from "chatroom-sdk";
import { Button } from "../../ui/Button.tsx";
import { Field } from "../../ui/Field.tsx";
import { LANGUAGES, useSpeech } from "../../ui/i18n/useTexts.tsx";
import type { Language } from "../../ui/i18n/useTexts.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { Logo } from "../../ui/Logo.tsx";
import { fieldError, problemText } from "../../ui/problemText.ts";
import "./signIn.css";

type Mode = "login" | "register";

interface SignInProps {
  readonly session: Session;
  /** The server ended the session that was here. */
  readonly ended: boolean;
}

/** Signing in, or opening an account. What is wrong with a field is said at the field. */
export function SignIn({ session, ended }: SignInProps) {
  const { texts, language, setLanguage } = useSpeech();
  const [mode, setMode] = useState<Mode>("login");
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [tried, setTried] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  const form = useRef<HTMLFormElement>(null);

  useEffect(() => {
    document.title = "ChatRoom";
  }, []);
  // The first field in trouble is where the next key should go.
  useEffect(() => {
    form.current?.querySelector<HTMLInputElement>("[aria-invalid]")?.focus();
  }, [problem]);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (busy) return;
    if (username === "" || password === "") {
      form.current?.querySelector<HTMLInputElement>("input:placeholder-shown")?.focus();
      return;
    }
    setBusy(true);
    setProblem(undefined);
    try {
      await (mode === "login" ? session.login({ username, password }) : session.register({ username, password }));
    } catch (error) {
      setProblem(asProblem(error));
      setBusy(false);
    }
  };
  const change = (next: Mode) => {
    setMode(next);
    setProblem(undefined);
    setTried(false);
    form.current?.querySelector("input")?.focus();
  };

  const missing = (value: string) => (tried && value === "" ? texts.required : undefined);
  const fields = problem?.fields ?? [];
  const taken = mode === "register" && problem?.code === "conflict" ? texts.usernameTaken : undefined;
  const nameError = missing(username) ?? taken ?? fieldError(fields, "username", texts, texts.usernameRule);
  const passwordError = missing(password) ?? fieldError(fields, "password", texts, texts.passwordRule);
  const general =
    problem === undefined || nameError !== undefined || passwordError !== undefined
      ? undefined
      : problem.code === "unauthorized"
        ? texts.wrongPassword
        : problemText(texts, problem.code);
  const isLogin = mode === "login";

  return (
    <div className="sign-in">
      <section className="sign-in-brand" aria-hidden="true">
        <div className="brand-line">
          <Logo />
          <span className="wordmark">ChatRoom</span>
        </div>
        <Conversation />
        <div className="brand-words">
          <p className="brand-tagline">{texts.tagline}</p>
          <p>{texts.pitch}</p>
        </div>
      </section>
      <main className="sign-in-main">
        <form ref={form} className="sign-in-form" onSubmit={(event) => void submit(event)} noValidate>
          <div className="brand-line sign-in-logo">
            <Logo />
            <span className="wordmark">ChatRoom</span>
          </div>
          <h1>{isLogin ? texts.signInTitle : texts.signUpTitle}</h1>
          {ended && problem === undefined && isLogin && (
            <p className="note" role="status">
              {texts.sessionEnded}
            </p>
          )}
          {general !== undefined && (
            <p className="note note-error" role="alert">
              <Icon name="alert" />
              {general}
            </p>
          )}
          <Field
            label={texts.username}
            name="username"
            autoComplete="username"
            autoCapitalize="none"
            spellCheck={false}
            maxLength={64}
            placeholder=" "
            required
            value={username}
            onChange={(event) => setUsername(event.target.value)}
            hint={isLogin ? undefined : texts.usernameRule}
            error={nameError}
          />
          <Field
            label={texts.password}
            name="password"
            type="password"
            autoComplete={isLogin ? "current-password" : "new-password"}
            maxLength={256}
            placeholder=" "
            required
            value={password}
            onChange={(event) => setPassword(event.target.value)}
            hint={isLogin ? undefined : texts.passwordRule}
            error={passwordError}
          />
          <Button type="submit" look="primary" busy={busy}>
            {isLogin ? texts.signIn : texts.signUp}
          </Button>
          <p className="sign-in-switch">
            {isLogin ? texts.signInHint : texts.signUpHint}{" "}
            <button type="button" className="link" onClick={() => change(isLogin ? "register" : "login")}>
              {isLogin ? texts.signUp : texts.signIn}
            </button>
          </p>
        </form>
        <footer className="sign-in-foot">
          {(Object.keys(LANGUAGES) as Language[]).map((code) => (
            <button
              key={code}
              type="button"
              className="link"
              lang={code === "zh" ? "zh-CN" : code}
              aria-pressed={code === language}
              onClick={() => setLanguage(code)}
            >
              {LANGUAGES[code].languageName}
            </button>
          ))}
        </footer>
      </main>
    </div>
  );
}

/** A conversation without words. */
function Conversation() {
  return (
    <svg className="conversation" viewBox="0 0 360 300">
      <g className="talk talk-a">
        <circle cx="34" cy="62" r="20" />
        <rect x="66" y="30" width="190" height="64" rx="22" />
        <path className="talk-text" d="M88 54h146M88 72h92" />
      </g>
      <g className="talk talk-b">
        <circle cx="326" cy="152" r="20" />
        <rect x="126" y="120" width="168" height="64" rx="22" />
        <path className="talk-text" d="M148 144h124M148 162h64" />
      </g>
      <g className="talk talk-c">
        <circle cx="34" cy="242" r="20" />
        <rect x="66" y="214" width="104" height="56" rx="22" />
        <circle className="talk-dot" cx="98" cy="242" r="5" />
        <circle className="talk-dot" cx="118" cy="242" r="5" />
        <circle className="talk-dot" cx="138" cy="242" r="5" />
      </g>
    </svg>
  );
}
