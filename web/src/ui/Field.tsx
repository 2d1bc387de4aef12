import { useId, useState } from "react";
import type { ComponentProps } from "react";
import { IconButton } from "./Button.tsx";
import { useTexts } from "./i18n/useTexts.tsx";

interface FieldProps extends ComponentProps<"input"> {
  readonly label: string;
  /** The rule for what goes in, read out with the field. */
  readonly hint?: string | undefined;
  readonly error?: string | undefined;
  readonly "data-first-focus"?: boolean;
}

/** A labelled input, with its rule or what is wrong with it underneath. */
export function Field({ label, hint, error, type = "text", ...rest }: FieldProps) {
  const texts = useTexts();
  const id = useId();
  const [shown, setShown] = useState(false);
  const secret = type === "password";
  const note = error ?? hint;
  return (
    <div className="field" data-invalid={error !== undefined || undefined}>
      <label htmlFor={id}>{label}</label>
      <div className="field-box">
        <input
          {...rest}
          id={id}
          type={secret && shown ? "text" : type}
          aria-invalid={error !== undefined || undefined}
          aria-describedby={note === undefined ? undefined : `${id}-note`}
        />
        {secret && (
          <IconButton
            icon={shown ? "eyeOff" : "eye"}
            label={shown ? texts.hidePassword : texts.showPassword}
            onClick={() => setShown(!shown)}
          />
        )}
      </div>
      {note !== undefined && (
        <p className="field-note" id={`${id}-note`} role={error === undefined ? undefined : "alert"}>
          {note}
        </p>
      )}
    </div>
  );
}
