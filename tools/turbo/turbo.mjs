/** turbo with its telemetry switched off, on every platform: `node tools/turbo/turbo.mjs run build`. */
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const manifest = createRequire(import.meta.url).resolve("turbo/package.json");
const { status } = spawnSync(process.execPath, [join(dirname(manifest), "bin", "turbo"), ...process.argv.slice(2)], {
  stdio: "inherit",
  env: { ...process.env, TURBO_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1" },
});
process.exit(status ?? 1);
