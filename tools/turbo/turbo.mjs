/**
 * turbo with its telemetry switched off, on every platform: `node tools/turbo/turbo.mjs run build`.
 *
 * With `--fast` in front, packages are built without declarations and source maps (tsup.base.ts), which is what a first start needs; turbo keeps these
 * builds apart from whole ones.
 */
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const [first, ...rest] = process.argv.slice(2);
const isFast = first === "--fast";
const manifest = createRequire(import.meta.url).resolve("turbo/package.json");
const { status } = spawnSync(
  process.execPath,
  [join(dirname(manifest), "bin", "turbo"), ...(isFast ? rest : process.argv.slice(2))],
  {
    stdio: "inherit",
    env: {
      ...process.env,
      TURBO_TELEMETRY_DISABLED: "1",
      DO_NOT_TRACK: "1",
      ...(isFast && { FLASHWICK_BUILD: "fast" }),
    },
  },
);
process.exit(status ?? 1);
