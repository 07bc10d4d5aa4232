/**
 * One thread and several, side by side: the read loop (the wall of DRAM), `linear` of each dtype as a share of it, and the
 * price of a hand-off. Every conformance case runs on the pool first; without it there is no number.
 *
 *   node bench/threads.bench.mjs [--threads 2] [--mib 192] [--csv]        (after a build)
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { measureHandOffUs, measureKernels } from "../dist/node.js";

const { values: options } = parseArgs({
  options: {
    threads: { type: "string", default: "2" },
    mib: { type: "string", default: "192" },
    csv: { type: "boolean", default: false },
  },
});
const threads = Number(options.threads);

if (options.csv) console.log("kernel,dtype,shape,threads,ms,gb_per_s,ceiling_gb_per_s,share");
else console.log(`${cpus()[0]?.model ?? "?"}, Node ${process.version}, ${options.mib} MiB of weights a pass\n`);
await measureKernels({ threads, weightMiB: Number(options.mib), onRow: report });
const handOffUs = await measureHandOffUs(threads);
if (!options.csv) console.log(`\nhand-off to ${threads - 1} more and back: ${handOffUs.toFixed(2)} us`);

/** @param {import("../dist/node.js").KernelRow} row */
function report({ kernel, dtype, shape, threads: count, ms, gbPerSec, ceilingGbPerSec, share }) {
  const numbers = [ms.toFixed(3), gbPerSec.toFixed(1), ceilingGbPerSec.toFixed(1)];
  if (options.csv) {
    console.log([kernel, dtype ?? "", `"${shape}"`, count, ...numbers, share.toFixed(3)].join(","));
    return;
  }
  const name = `${kernel} ${dtype ?? ""}`.padEnd(14);
  const speed = `${numbers[1].padStart(6)} GB/s`;
  const part = dtype === null ? "" : `${(100 * share).toFixed(0).padStart(4)} % of ${numbers[2]}`;
  console.log(
    `${count} thread${count > 1 ? "s" : " "} ${name} ${shape.padEnd(14)} ${numbers[0].padStart(8)} ms ${speed} ${part}`,
  );
}
