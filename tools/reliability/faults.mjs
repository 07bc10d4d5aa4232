// @ts-check
/** Fails whole engines at each of their reads, in every way in which a device fails. `--help` says how. */
import { runBundled } from "./bundle.mjs";

await runBundled("src/faults/bin.ts");
