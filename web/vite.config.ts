// Enters: src/ and index.html. Leaves: dist/, which the collector serves as it is, under any path prefix.
// Nothing is inlined (no data: scripts or styles), so a strict Content-Security-Policy holds.
// In development `/api` and `/healthz` go to SPANHOUND_API_URL (a collector or the mock of tests/web).
import { defineConfig, loadEnv } from "vite";

const api = loadEnv("development", ".", "SPANHOUND_").SPANHOUND_API_URL ?? "http://127.0.0.1:23900";

export default defineConfig({
  base: "./",
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: {
    target: "es2022",
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: { host: "127.0.0.1", port: 23901, strictPort: true, proxy: { "/api": api, "/healthz": api } },
});
