import type { ComponentProps, ReactNode } from "react";
import { Icon } from "./Icon.tsx";
import type { IconName } from "./Icon.tsx";

interface ButtonProps extends ComponentProps<"button"> {
  readonly look?: "primary" | "plain" | "danger";
  readonly icon?: IconName;
  /** Shows that something is under way, and takes no second click meanwhile. */
  readonly busy?: boolean;
  readonly "data-first-focus"?: boolean;
  readonly children: ReactNode;
}

export function Button({ look = "plain", icon, busy = false, children, onClick, ...rest }: ButtonProps) {
  return (
    <button
      type="button"
      {...rest}
      className={`button button-${look}`}
      aria-busy={busy || undefined}
      aria-disabled={busy || undefined}
      onClick={(event) => (busy ? event.preventDefault() : onClick?.(event))}
    >
      {icon && <Icon name={icon} />}
      <span>{children}</span>
    </button>
  );
}

interface IconButtonProps extends Omit<ComponentProps<"button">, "children"> {
  readonly icon: IconName;
  /** What it does: its name for everybody, and its tooltip. */
  readonly label: string;
  readonly look?: "ghost" | "primary";
}

export function IconButton({ icon, label, look = "ghost", className = "", ...rest }: IconButtonProps) {
  return (
    <button
      type="button"
      {...rest}
      className={`icon-button icon-button-${look} ${className}`}
      aria-label={label}
      title={label}
    >
      <Icon name={icon} />
    </button>
  );
}
