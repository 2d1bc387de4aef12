/** Short notices in a corner, read out as they come. They go by themselves, but not while looked at. */
import { createContext, use, useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { ReactNode } from "react";
import { IconButton } from "./Button.tsx";
import { Icon } from "./Icon.tsx";
import { useTexts } from "./i18n/useTexts.tsx";

interface Toast {
  readonly id: number;
  readonly text: string;
  readonly kind: "info" | "error";
}

type Show = (text: string, kind?: Toast["kind"]) => void;

const ToastContext = createContext<Show>(() => undefined);

/** Shows a notice. */
export function useToast(): Show {
  return use(ToastContext);
}

export function ToastProvider({ children }: { readonly children: ReactNode }) {
  const texts = useTexts();
  const [toasts, setToasts] = useState<readonly Toast[]>([]);
  const next = useRef(0);
  const show = useCallback<Show>((text, kind = "error") => {
    next.current += 1;
    const toast = { id: next.current, text, kind };
    // The same words twice say no more than once.
    setToasts((old) => [...old.filter((other) => other.text !== text), toast].slice(-SHOWN_MAX));
  }, []);
  const remove = useCallback((id: number) => {
    setToasts((old) => old.filter((toast) => toast.id !== id));
  }, []);
  const value = useMemo(() => show, [show]);
  return (
    <ToastContext value={value}>
      {children}
      <section className="toasts" aria-label={texts.notices} aria-live="polite" aria-relevant="additions">
        {toasts.map((toast) => (
          <ToastLine key={toast.id} toast={toast} onRemove={remove} />
        ))}
      </section>
    </ToastContext>
  );
}

function ToastLine({ toast, onRemove }: { readonly toast: Toast; readonly onRemove: (id: number) => void }) {
  const texts = useTexts();
  const [held, setHeld] = useState(false);
  useEffect(() => {
    if (held) return undefined;
    const timer = setTimeout(() => onRemove(toast.id), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [held, toast.id, onRemove]);
  return (
    <div
      className={`toast toast-${toast.kind}`}
      onPointerEnter={() => setHeld(true)}
      onPointerLeave={() => setHeld(false)}
      onFocus={() => setHeld(true)}
      onBlur={() => setHeld(false)}
    >
      <Icon name={toast.kind === "error" ? "alert" : "check"} />
      <p>{toast.text}</p>
      <IconButton icon="close" label={texts.close} onClick={() => onRemove(toast.id)} />
    </div>
  );
}

const SHOWN_MAX = 3;
const SHOWN_MS = 7_000;
