// @ts-check
/** A program as none should be: it writes in place, bit by bit, and goes on from whatever it finds. */
import { existsSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";

const [, , path = ""] = process.argv;
const found = existsSync(path) ? readFileSync(path, "utf8") : "";
writeFileSync(`${path}.tmp`, "of no use");
writeFileSync(path, found.startsWith("whole") ? found : `${found}whole`);
unlinkSync(`${path}.tmp`);
