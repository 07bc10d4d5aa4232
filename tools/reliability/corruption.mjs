// @ts-check
/** Damages every kind of file, one place at a time, and counts who finds out. `--help` says how. */
import { runBundled } from "./bundle.mjs";

await runBundled("src/corruption/bin.ts");
