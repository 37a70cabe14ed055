import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";

const VIEWER = "node_modules/dicom-microscopy-viewer/dist";

/** The viewer looks for its decoding worker at /static/js/dataLoader.worker.min.js, and the worker for .wasm beside it. */
function viewerWorker(): Plugin {
  return {
    name: "viewer-worker",
    generateBundle() {
      const worker = readFileSync(join(VIEWER, "dataLoader.worker.bundle.min.js"), "utf8").replace(/\/\/# sourceMap.*$/, "");
      const source = `(function () {\n${worker}\n}).call(self);`; // loaded as a module, where `this` is undefined
      this.emitFile({ type: "asset", fileName: "js/dataLoader.worker.min.js", source });
      for (const name of readdirSync(VIEWER).filter((file) => file.endsWith(".wasm"))) {
        this.emitFile({ type: "asset", fileName: `js/${name}`, source: readFileSync(join(VIEWER, name)) });
      }
    },
  };
}

// Four pages, served by the node: /, /signin, /cases/ID and /agreement. Nothing is inlined, so that the content security policy stays strict.
export default defineConfig({
  base: "/static/",
  plugins: [viewerWorker()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 4000, // the viewer, which only the case page loads
    modulePreload: { polyfill: false },
    rolldownOptions: { input: ["index.html", "signin.html", "case.html", "agreement.html"] },
  },
});
