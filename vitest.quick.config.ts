/** The inner loop: every test but the long ones, in less than a minute on two cores. `test` runs them all. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import whole from "./vitest.config.js";

/** The longest files, by what takes the time: together more than three quarters of the whole run. */
const LONG = [
  // A browser, or a graphics processor in software.
  "tools/browser/src/lab.test.ts",
  "tools/browser/src/lab-chat.test.ts",
  "tools/browser/src/lab-pull.test.ts",
  "tools/browser/src/lab-share.test.ts",
  "tools/browser/src/lab-start.test.ts",
  "tools/browser/src/page-threads.test.ts",
  "tools/browser/src/run-page.test.ts",
  "tools/browser/src/private-files.test.ts",
  "tools/browser/src/webgpu.test.ts",
  "tools/browser/src/webgpu-models.test.ts",
  "tools/browser/src/gpu-check.test.ts",
  "tools/browser/src/guide-page.test.ts",
  "tools/browser/src/docs-site.test.ts",
  // Demo models over whole texts, at many settings, or enlarged.
  "packages/runtime/src/quality.test.ts",
  "packages/runtime/src/node/any-machine.test.ts",
  "packages/runtime/src/node/sparse-references.test.ts",
  "packages/runtime/src/sparse-references.test.ts",
  "packages/runtime/src/predicted-run.test.ts",
  "packages/runtime/src/goldens.test.ts",
  "packages/runtime/src/long-context.test.ts",
  "packages/runtime/src/mirror.test.ts",
  "packages/runtime/src/odd-shapes.test.ts",
  "packages/runtime/src/serving/together.test.ts",
  "apps/cli/src/engine.test.ts",
  "apps/cli/src/calibrate.test.ts",
  "tools/scale-model/src/scale-checkpoint.test.ts",
  // Processes and threads that end badly, or in a memory control group.
  "packages/runtime/src/node/failures.test.ts",
  "packages/runtime/src/train/task-pool.test.ts",
  "packages/kernels-wasm/src/node/compute-pool.test.ts",
  "tools/reliability/src/crashes/crashes.test.ts",
  "apps/cli/src/bench/memory-group.test.ts",
  "packages/server/src/node/grammar-threads.test.ts",
  "packages/server/src/node/hostile.test.ts",
  // What measures: the device, the kernels, the network.
  "packages/runtime/src/node/profile/measure-profile.test.ts",
  "packages/kernels-wasm/src/node/measure-kernels.test.ts",
  "packages/flash-io/src/http/http-source.test.ts",
  // Every operation of every reader, struck by every fault; engines, and files of every kind.
  "packages/flash-io/src/conformance/faults.test.ts",
  "tools/reliability/src/corruption/corruption.test.ts",
  "tools/reliability/src/faults/engine-faults.test.ts",
  "apps/cli/src/bench.test.ts",
  "apps/cli/src/doctor.test.ts",
  "apps/cli/src/doctor-failure.test.ts",
  // Every package packed, installed and bundled; all declarations compiled.
  "tools/pack-check/src/packed.test.ts",
  "tools/pack-check/src/api-report.test.ts",
  // Commands of the guides, one after the other.
  "tools/readme-examples/src/guides.test.ts",
  // Some thousand inputs for every reader.
  "tools/fuzz/src/fuzz.test.ts",
  // The whole repository, parsed again and again.
  "tools/check-imports/src/check-imports.test.ts",
];

for (const file of LONG) {
  if (!existsSync(fileURLToPath(new URL(file, import.meta.url))))
    throw new Error(`vitest.quick.config.ts: ${file} is not there; correct the list`);
}

export default defineConfig({ ...whole, test: { ...whole.test, exclude: [...LONG, "**/node_modules/**"] } });
