import { defineConfig } from "vite";

/** Memory is shared between workers only in pages that are served with these two. */
const headers = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export default defineConfig({
  // Relative: the site works in any folder of any server.
  base: "./",
  worker: { format: "es" },
  build: { target: "es2022", modulePreload: { polyfill: false } },
  server: { headers },
  preview: { headers },
});
