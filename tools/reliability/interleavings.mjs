// @ts-check
/** All interleavings of small cases of each hand-off: the long searches. `--help` says how. */
import { runBundled } from "./bundle.mjs";

await runBundled("src/interleavings/bin.ts");
