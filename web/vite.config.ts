import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** Where `npm run dev` finds the server; it must count as this page's origin. */
const server = process.env["CHATROOM_URL"] ?? "http://127.0.0.1:8080";
const headers = { origin: server };

export default defineConfig({
  plugins: [react()],
  build: {
    // A `data:` URL would be an outside source to the server's Content-Security-Policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2023",
  },
  server: {
    proxy: {
      "/api": { target: server, headers },
      "/ws": { target: server, headers, ws: true },
    },
  },
});
