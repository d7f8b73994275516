// Builds src/ into the file that ingest_api serves as /p.js, and writes built.json, by which anyone can check without
// Node that the committed build belongs to the committed sources. With --check nothing is written: exit code 1 if the
// committed build differs.
import {build} from "esbuild";
import {createHash} from "node:crypto";
import {readdirSync, readFileSync, writeFileSync} from "node:fs";

const here = new URL(".", import.meta.url);
const target = new URL("../../services/percorso_services/ingest_api/static/p.js", here);
const record = new URL("built.json", here);
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

const result = await build({
    absWorkingDir: here.pathname,
    entryPoints: ["src/main.ts"],
    bundle: true,
    minify: true,
    format: "iife",
    target: ["es2018"],
    charset: "ascii",
    legalComments: "none",
    banner: {js: "/* Percorso beacon, Apache-2.0 */"},
    write: false,
});
const built = Buffer.from(result.outputFiles[0].contents);
const sources = readdirSync(new URL("src/", here)).sort()
    .map((name) => `${name} ${sha256(readFileSync(new URL(`src/${name}`, here)))}\n`).join("");
const text = JSON.stringify({sources: sha256(sources), file: sha256(built)}, null, 2) + "\n";

if (process.argv.includes("--check")) {
    const same = readFileSync(target).equals(built) && readFileSync(record, "utf8") === text;
    console.log(same ? "the committed beacon is what its sources build to" : "the committed beacon differs: npm run build");
    process.exit(same ? 0 : 1);
}
writeFileSync(target, built);
writeFileSync(record, text);
await import("./size.mjs");
