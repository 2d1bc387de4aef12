import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import type { Plugin } from "vite";

/** Where `npm run dev` finds the server; it must count as this page's origin. */
const server = process.env["CHATROOM_URL"] ?? "http://127.0.0.1:8080";
const headers = { origin: server };

export default defineConfig({
  plugins: [react(), compress()],
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

/** Puts a `.br` and a `.gz` beside each text of the build: the server embeds them and compresses nothing itself. */
function compress(): Plugin {
  let outDir = "dist";
  return {
    name: "chatroom-compress",
    apply: "build",
    configResolved: (config) => void (outDir = config.build.outDir),
    closeBundle: () => {
      for (const name of readdirSync(outDir, { recursive: true, encoding: "utf8" })) {
        const path = join(outDir, name);
        if (!/\.(html|js|css|svg)$/.test(name) || statSync(path).size < COMPRESSED_FROM) continue;
        const text = readFileSync(path);
        const params = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
        writeFileSync(`${path}.br`, brotliCompressSync(text, { params }));
        writeFileSync(`${path}.gz`, gzipSync(text, { level: constants.Z_BEST_COMPRESSION }));
      }
    },
  };
}

/** Smaller ones fit into one packet as they are. */
const COMPRESSED_FROM = 1_000;
