// Prints the size of the committed build. Exit code 1 beyond 6 KB gzip.
import {readFileSync} from "node:fs";
import {gzipSync} from "node:zlib";

const LIMIT = 6 * 1024;
const built = readFileSync(new URL("../../services/percorso_services/ingest_api/static/p.js", import.meta.url));
const zipped = gzipSync(built, {level: 9}).length;
console.log(`p.js: ${built.length} bytes, ${zipped} gzip (limit ${LIMIT})`);
if (zipped > LIMIT) process.exit(1);
