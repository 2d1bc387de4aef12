// The style sheets first: theme.css names the order of the layers.
import "./ui/theme.css";
import "./ui/ui.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { connectHere } from "chatroom-sdk";
import { App } from "./app/App.tsx";
import { LanguageProvider } from "./ui/i18n/useTexts.tsx";
import { ToastProvider } from "./ui/Toasts.tsx";
import { applyTheme } from "./ui/useTheme.ts";

applyTheme();

const client = connectHere();
client.session.restore();

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");

createRoot(root).render(
  <StrictMode>
    <LanguageProvider>
      <ToastProvider>
        <App client={client} />
      </ToastProvider>
    </LanguageProvider>
  </StrictMode>,
);
