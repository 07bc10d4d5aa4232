/** The check itself: conformance first, then what the device's memory, the kernels and whole models reach. */
import { cpus, release, totalmem } from "node:os";
import { openWebGpu, type WebGpu } from "@flashwick/kernels-webgpu";
import { checkConformance } from "./conformance.js";
import { measureBandwidth } from "./device-bandwidth.js";
import { benchBytes, measureKernels } from "./kernel-rates.js";
import { isWithinBound, measureModel } from "./model-rates.js";
import { readPackedBytes, readPackedModels } from "./packed-model.js";
import {
  type ConformanceReport,
  type DeviceBandwidth,
  type GpuReport,
  type KernelRate,
  type MachineFacts,
  type ModelRate,
  REPORT_VERSION,
} from "./report.js";

const MiB = 2 ** 20;
/** Three digits, of whatever size the number is. */
const threeDigits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const figure = (value: number) => threeDigits.format(value);

export interface GpuCheckOptions {
  readonly gpu: GPU;
  /** Of the packed models. */
  readonly models: string;
  /** The built conformance-worker.js. */
  readonly worker: URL;
  /** MiB of weights that kernels are timed on, at most; well beyond the device's caches. */
  readonly weightMiB: number;
  /** Tokens that each model generates, at least 2. */
  readonly tokens: number;
  /** False: sums over workgroups, even where the adapter offers subgroups. */
  readonly subgroups: boolean;
  /** Called with lines for a person. */
  readonly print: (line: string) => void;
}

/**
 * Runs everything. A kernel or a model that computes something wrong gives no figures, and the report says what was wrong.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` if there is no adapter. {DeviceLostError} if the device goes away.
 * Cost: a minute or two on a graphics processor, several without one; twice the weights in memory.
 */
export async function runGpuCheck(options: GpuCheckOptions): Promise<GpuReport> {
  const { gpu, subgroups, print } = options;
  const device = await openWebGpu({ gpu, subgroups });
  try {
    const { adapter, maxArenaBytes } = device;
    print(
      `${adapter}, ${device.subgroups ? "with" : "without"} subgroups, arenas of ${Math.floor(maxArenaBytes / MiB)} MiB`,
    );
    const conformance = await checkConformance(gpu, subgroups, options.worker);
    printConformance(conformance, print);
    const bandwidth = await measureBandwidth(gpu, weightBytes(device, options.weightMiB));
    printBandwidth(bandwidth, print);
    // Check, then time: no check, no number.
    const isConforming = conformance.failures.length === 0;
    const kernels = isConforming ? await measureKernels(device, bandwidth) : [];
    for (const rate of kernels) print(kernelLine(rate));
    const models = isConforming ? await measureModels(device, options) : [];
    return {
      tool: "gpu-check",
      version: REPORT_VERSION,
      machine: machineFacts(),
      device: { adapter, subgroups: device.subgroups, maxArenaBytes },
      ...{ conformance, bandwidth, kernels, models },
      passed: isConforming && models.every(isWithinBound),
    };
  } finally {
    device.close();
  }
}

/** As many as wished, if an arena holds them beside what they are multiplied with. */
function weightBytes({ maxArenaBytes }: WebGpu, weightMiB: number): number {
  let mib = weightMiB;
  while (mib > 1 && benchBytes(mib * MiB) + MiB > maxArenaBytes) mib--;
  return mib * MiB;
}

async function measureModels(device: WebGpu, { models, tokens, print }: GpuCheckOptions): Promise<ModelRate[]> {
  const rates: ModelRate[] = [];
  for (const model of await readPackedModels(models)) {
    const measured = await measureModel(device, model, await readPackedBytes(models, model), tokens);
    for (const rate of measured) print(modelLine(rate));
    rates.push(...measured);
  }
  return rates;
}

function machineFacts(): MachineFacts {
  const [first] = cpus();
  return {
    cpu: first?.model ?? "unknown",
    cores: cpus().length,
    memoryBytes: totalmem(),
    node: process.version,
    kernel: release(),
  };
}

function printConformance({ cases, failures }: ConformanceReport, print: (line: string) => void): void {
  print(`conformance: ${cases - failures.length} of ${cases} cases passed`);
  for (const { title, failure } of failures) print(`  FAILED ${title}: ${failure}`);
}

function printBandwidth(
  { sizeBytes, readGbPerSec, copyGbPerSec }: DeviceBandwidth,
  print: (line: string) => void,
): void {
  const rates = `${figure(readGbPerSec)} GB/s read, ${figure(copyGbPerSec)} GB/s copied (both ways)`;
  print(`device memory, ${sizeBytes / MiB} MiB: ${rates}`);
}

function kernelLine({ kernel, dtype, shape, vectors, ms, gbPerSec, gmacPerSec, shareOfRead }: KernelRate): string {
  const what = `${kernel} ${dtype} [${shape.join(", ")}] x ${vectors}`;
  const share = `${figure(100 * shareOfRead)} % of reading`;
  return `${what}: ${figure(ms)} ms, ${figure(gbPerSec)} GB/s (${share}), ${figure(gmacPerSec)} Gmac/s`;
}

function modelLine(rate: ModelRate): string {
  const { name, memory, webgpuTokensPerSec, wasmTokensPerSec, sameTokens, tokens } = rate;
  const speeds = `${figure(webgpuTokensPerSec)} tokens/s on WebGPU, ${figure(wasmTokensPerSec)} on WebAssembly`;
  const off = `logits off by ${rate.largestLogitDifference.toExponential(1)} of ${rate.bound}`;
  const verdict = isWithinBound(rate) ? "" : "  FAILED";
  return `${name}, ${memory}: ${speeds}; ${sameTokens} of ${tokens} tokens the same, ${off}${verdict}`;
}
