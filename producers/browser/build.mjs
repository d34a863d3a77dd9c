// Makes dist of src, with terser as requirements/browser locks it: node build.mjs <folder with node_modules> <folder to write to>.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, into] = process.argv.slice(2);
const { minify } = createRequire(`${modules}/`)("terser");
const source = new URL("src/", import.meta.url);

// One word for both kinds of binding: what stays is shorter. The source is checked as it stands.
const text = readFileSync(new URL("streamgage.js", source), "utf8").replaceAll(/\bconst\b/g, "let");
const { code } = await minify(text, {
  ecma: 2020,
  compress: { passes: 3, unsafe: true, unsafe_arrows: true, booleans_as_integers: true, if_return: false },
});
writeFileSync(`${into}/streamgage.min.js`, code.replace(/;$/, ""));
writeFileSync(`${into}/streamgage.min.d.ts`, readFileSync(new URL("streamgage.d.ts", source)));
