/**
 * Caches and placements on recorded traces of the demo models: every policy over every size, and every order of neurons on flash, on the texts
 * that nothing was set on; writes docs/results/traces.csv, traces-<model>.svg and placement.csv:
 *
 *     pnpm build && node tools/results/traces.mjs <folder with opt-demo.gguf, falcon-demo.gguf and gated-demo.gguf>
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { devicePreset } from "@flashwick/cost-model";
import { demoModels } from "@flashwick/demo-models";
import { decodeTrace } from "@flashwick/dram-cache/simulate";
import { choosePlacement } from "@flashwick/runtime";
import { writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const program = join(root, "apps/cli/dist/flashwick.js");
const [folder] = scriptArguments({ usage: "traces.mjs <folder>", words: 1 }).words;
const TOKENS = 8192;
const DEVICE = "nvme-pcie4";
/** As OPT 6.7B's at 16 bit: a demo record of 1 KiB would make every device's operations, not its bytes, what counts. */
const RECORD_BYTES = 16384;
const PLACEMENT_SLOTS = [0.1, 0.2, 0.4];
const PLACEMENT_RECORDS = [1024, 4096, 16384];

const flashwick = (...args) =>
  JSON.parse(execFileSync(process.execPath, [program, ...args, "--json", "--quiet"], { maxBuffer: 2 ** 27 }));
const rows = [];
const placements = [];
for (const [name, { predictorPath, texts }] of Object.entries(demoModels)) {
  const model = join(folder, `${name}.gguf`);
  const trace = join(folder, `${name}.trace`);
  const record = ["--text", texts.evaluation, "--tokens", `${TOKENS}`, "--predictor", predictorPath];
  flashwick("trace", "record", model, ...record, "-o", trace, "--force");
  const plot = join(root, `docs/results/traces-${name}.svg`);
  const settings = ["--record-bytes", `${RECORD_BYTES}`, "--preset", DEVICE, "--plot", plot, "--force"];
  for (const row of flashwick("trace", "simulate", trace, ...settings).rows) {
    const { perToken, counters: _, policy, slots, ...rest } = row;
    rows.push({ model: name, policy, slots, ...rest, ...perToken });
  }
  place(name, decodeTrace(readFileSync(trace), trace));
}
writeTable("traces.csv", rows);
writeTable("placement.csv", placements);

function place(name, trace) {
  for (const share of PLACEMENT_SLOTS) {
    for (const strideBytes of PLACEMENT_RECORDS) {
      const device = { profile: devicePreset(DEVICE), readers: 16 };
      const slots = Math.round(share * trace.dFf);
      const { order: chosen, candidates } = choosePlacement(trace, { slots, strideBytes, device });
      for (const { order, heldOut } of candidates) {
        const { misses, flashReads, readMs } = heldOut.perToken;
        placements.push({
          model: name,
          slots_share: share,
          record_bytes: strideBytes,
          order,
          chosen: order === chosen,
          misses,
          reads: flashReads,
          records_per_read: heldOut.recordsPerRead,
          read_ms: readMs,
        });
        console.log(Object.values(placements.at(-1)).join("  "));
      }
    }
  }
}
