import type { ChatClient } from "chatroom-sdk";
import { Button } from "../../ui/Button.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { useTexts } from "../../ui/i18n/useTexts.tsx";
import { useStore } from "../../ui/useStore.ts";
import "./connection.css";

/** Says when there is no connection, and what becomes of it. Silent while all is well. */
export function ConnectionBanner({ connection }: { readonly connection: ChatClient["connection"] }) {
  const texts = useTexts();
  const { phase, offline, again } = useStore(connection);
  const down = phase === "connecting" || phase === "waiting" || phase === "stopped";
  const text =
    phase === "stopped"
      ? texts.stopped
      : offline
        ? texts.offline
        : again
          ? texts.reconnecting
          : texts.connecting;
  return (
    <div role="status" className="connection-status">
      {down && (
        <div className="connection-banner" data-tone={phase === "stopped" || offline ? "warn" : undefined}>
          {offline || phase === "stopped" ? <Icon name="offline" /> : <span className="spinner" />}
          <p>{text}</p>
          {phase === "stopped" ? (
            <Button onClick={() => window.location.reload()}>{texts.reload}</Button>
          ) : (
            phase === "waiting" && <Button onClick={() => connection.retryNow()}>{texts.tryNow}</Button>
          )}
        </div>
      )}
    </div>
  );
}
