/** What `run.sh` of a packed folder starts. Exit status: 0 all passed; 1 something computes wrong; 2 it could not be tried. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { FlashwickError } from "@flashwick/core";
import { openDawn } from "./dawn.js";
import { runGpuCheck } from "./gpu-check.js";
import { explainNoAdapter, type SystemView } from "./missing-library.js";

const USAGE = `sh run.sh [--json <file>] [--weight-mib <n>] [--no-subgroups]

  --json <file>      writes the report as one JSON document, too
  --weight-mib <n>   weights that kernels are timed on, MiB; default 256, less where the device has no room
  --tokens <n>       tokens that each model generates; default 64
  --no-subgroups     sums over workgroups, even where the adapter offers subgroups`;

const packed = fileURLToPath(new URL("../", import.meta.url));
const print = (line: string) => process.stdout.write(`${line}\n`);

const system: SystemView = {
  env: process.env,
  exists: existsSync,
  read: (path) => readFileSync(path, "utf8"),
  list: (folder) => (existsSync(folder) ? readdirSync(folder) : []),
};

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      json: { type: "string" },
      "weight-mib": { type: "string", default: "256" },
      tokens: { type: "string", default: "64" },
      "no-subgroups": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    print(USAGE);
    return 0;
  }
  const report = await runGpuCheck({
    gpu: await openDawn(packed, process.env.GPU_CHECK_UNPACKED ?? join(packed, "unpacked")),
    models: join(packed, "models"),
    worker: new URL("./conformance-worker.mjs", import.meta.url),
    weightMiB: atLeast(1, "--weight-mib", values["weight-mib"]),
    tokens: atLeast(2, "--tokens", values.tokens),
    subgroups: !values["no-subgroups"],
    print,
  });
  if (values.json) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
  print(report.passed ? "passed" : "FAILED");
  return report.passed ? 0 : 1;
}

function atLeast(least: number, flag: string, text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= least) return count;
  throw new Error(`${flag} ${text}: expected a whole number from ${least} on`);
}

function explain(error: Error): void {
  process.stderr.write(`gpu-check: ${error.message}\n`);
  if (!(error instanceof FlashwickError) || error.code !== "UNSUPPORTED_FEATURE") return;
  for (const line of explainNoAdapter(system)) process.stderr.write(`gpu-check: ${line}\n`);
}

const status = await main().catch((error: Error) => {
  explain(error);
  return 2;
});
// Dawn's threads would keep the process.
process.exit(status);
