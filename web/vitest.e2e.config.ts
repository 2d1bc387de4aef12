import { defineConfig } from "vitest/config";

/** A real server and a real browser, one story after the other. */
export default defineConfig({
  test: {
    include: ["e2e/**/*.spec.ts"],
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    sequence: { concurrent: false },
  },
});
