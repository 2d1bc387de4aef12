/** Which of the three screens: finding out who it is, signing in, or the chat. */
import type { ChatClient, Problem } from "chatroom-sdk";
import { SignIn } from "../features/session/SignIn.tsx";
import { useTexts } from "../ui/i18n/useTexts.tsx";
import { Logo } from "../ui/Logo.tsx";
import { useStore } from "../ui/useStore.ts";
import { Shell } from "./Shell.tsx";
import "./app.css";

export function App({ client }: { readonly client: ChatClient }) {
  const state = useStore(client.session);
  switch (state.status) {
    case "restoring":
      return <Opening problem={state.problem} />;
    case "out":
      return <SignIn session={client.session} ended={state.ended} />;
    case "in":
      // Another user is another chat: nothing of the one before is left.
      return <Shell key={state.user.id} client={client} me={state.user} />;
  }
}

function Opening({ problem }: { readonly problem: Problem | undefined }) {
  const texts = useTexts();
  return (
    <main className="opening">
      <Logo />
      <p role="status">{problem ? texts.unreachable : texts.restoring}</p>
    </main>
  );
}
