// @ts-check
/** Seeded schedules over small models: the same logits whatever happens when. `--help` says how. */
import { runBundled } from "./bundle.mjs";

await runBundled("src/schedules/bin.ts");
