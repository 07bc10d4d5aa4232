/**
 * Lists every measurement of the repository, or runs one by its name:
 *
 *     pnpm build && pnpm bench
 *     pnpm bench kernels --mib 64
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { benchCommand, findBenches } from "./src/benches.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const [name, ...args] = process.argv.slice(2);
const benches = findBenches(root);
if (name === undefined) {
  const width = Math.max(...benches.map((bench) => bench.name.length));
  for (const bench of benches) console.log(`${bench.name.padEnd(width)}  ${bench.about} (${bench.path})`);
} else {
  const bench = benches.find((one) => one.name === name);
  if (!bench) {
    console.error(`${name}: expected one of ${benches.map((one) => one.name).join(", ")}`);
    process.exit(2);
  }
  const { status } = spawnSync(process.execPath, benchCommand(bench, args), { cwd: root, stdio: "inherit" });
  process.exitCode = status ?? 1;
}
