import { useEffect, useRef } from "react";
import type { ReactNode } from "react";
import { IconButton } from "./Button.tsx";
import { useTexts } from "./i18n/useTexts.tsx";

interface DialogProps {
  readonly title: string;
  /** `modal` in the middle; the others slide in from an edge. */
  readonly place?: "modal" | "left" | "right";
  /** Drawers bring a head of their own. */
  readonly bare?: boolean;
  readonly onClose: () => void;
  readonly children: ReactNode;
}

/**
 * A modal dialog while it is rendered. The focus goes to what has `data-first-focus`, else to the dialog;
 * the browser keeps it inside, and gives it back.
 */
export function Dialog({ title, place = "modal", bare = false, onClose, children }: DialogProps) {
  const texts = useTexts();
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current;
    if (dialog === null) return undefined;
    // Left to itself the browser takes the first button, or a field that brings up a keyboard.
    (dialog.querySelector("[data-first-focus]") ?? dialog).toggleAttribute("autofocus", true);
    dialog.showModal();
    return () => dialog.close();
  }, []);
  return (
    // A click on the dialog itself, not on what is in it, is one on the backdrop; the keyboard has Escape.
    // oxlint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-noninteractive-element-interactions
    <dialog
      ref={ref}
      className={`dialog dialog-${place}`}
      aria-label={title}
      onClick={(event) => event.target === event.currentTarget && onClose()}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <div className="dialog-body">
        {!bare && (
          <header className="dialog-head">
            <h2>{title}</h2>
            <IconButton icon="close" label={texts.close} onClick={onClose} />
          </header>
        )}
        {children}
      </div>
    </dialog>
  );
}
