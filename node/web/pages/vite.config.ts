import { defineConfig } from "vite";

// Two pages, served by the node: / and /cases/ID. Nothing is inlined, so that the content security policy stays strict.
export default defineConfig({
  base: "/static/",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { input: ["index.html", "case.html"] },
  },
});
