// The page's build. Its output is committed into the package, so that nobody needs Node to install Littoral.
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [svelte()],
  base: "./",
  build: {
    outDir: "../src/littoral/hub/page",
    emptyOutDir: true,
    assetsInlineLimit: 0, // the content security policy allows no data: but pictures
    modulePreload: { polyfill: false },
    rolldownOptions: {
      output: {
        entryFileNames: "page.js",
        chunkFileNames: "[name].js",
        assetFileNames: "page[extname]",
      },
    },
  },
  server: { proxy: { "/v1": "http://127.0.0.1:5199" } },
});
