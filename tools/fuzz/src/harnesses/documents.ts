/** Documents that people pass on: profiles, statistics, traces, tasks. */
import { InputError } from "@flashwick/core";
import {
  DEVICE_PRESETS,
  denseSparsity,
  devicePreset,
  mixturePreset,
  parseDeviceProfile,
  parseLocality,
  parseSparsity,
  powerLawLayer,
  UNION_TOKENS,
} from "@flashwick/cost-model";
import { decodeProfile } from "@flashwick/dram-cache";
import { decodeTrace, encodeTrace } from "@flashwick/dram-cache/simulate";
import { parseTasks } from "@flashwick/runtime";
import { bytesOf, choiceOf, type Harness, jsonBytes, textOf } from "../harness.js";

const MiB = 2 ** 20;
const LIMITS = { ms: 500, growthBytes: 32 * MiB };

/** As the callers of these readers do: text that is no JSON is refused by them. */
function parsed(input: Uint8Array): unknown {
  try {
    return JSON.parse(textOf(input));
  } catch {
    throw new InputError("INPUT_INVALID", "no JSON");
  }
}

/** A device profile. */
export const deviceProfile: Harness = {
  name: "device-profile",
  form: "json",
  words: [
    "schemaVersion",
    "flash",
    "reads",
    "batches",
    "kernels",
    "batch",
    "management",
    "stream",
    "chunks",
    "firstMemory",
    "sizeBytes",
    "depth",
    "dtype",
    "q4_0",
    "spread",
  ],
  maxBytes: 128 * 1024,
  limits: LIMITS,
  seeds: async () => DEVICE_PRESETS.slice(0, 2).map((name) => jsonBytes(devicePreset(name))),
  read: (input) => void parseDeviceProfile(parsed(input), "profile.json"),
};

const STATISTICS = {
  source: "made",
  unionTokens: [...UNION_TOKENS],
  layers: [powerLawLayer(0.05, 0.5), powerLawLayer(0.1, 0.4, 0.08)],
  clumping: 1.5,
  namedQuantiles: { p50: 1, p90: 1.5, p99: 2 },
};

/** Sparsity statistics, by themselves or inside of a larger document. */
export const sparsityStatistics: Harness = {
  name: "statistics",
  form: "json",
  words: [
    "sparsity",
    "unionTokens",
    "layers",
    "unionShare",
    "freshShare",
    "unevenness",
    "activeShare",
    "clumping",
    "namedQuantiles",
    "p50",
    "source",
  ],
  maxBytes: 64 * 1024,
  limits: LIMITS,
  seeds: async () => [jsonBytes(STATISTICS), jsonBytes({ sparsity: STATISTICS }), jsonBytes(denseSparsity(3))],
  read: (input) => void parseSparsity(parsed(input), "eval.json"),
};

const MIXTURE = mixturePreset("olmoe-1b-7b").shape.mixture!;

/** The locality of a mixture's experts. */
export const expertLocality: Harness = {
  name: "locality",
  form: "json",
  words: ["locality", "source", "hitShareByLayer"],
  maxBytes: 128 * 1024,
  limits: LIMITS,
  async seeds() {
    const hitShareByLayer = MIXTURE.layers.map(
      ({ experts }) => experts && Array.from({ length: experts.count + 1 }, (_, i) => i / experts.count),
    );
    return [
      jsonBytes({ source: "made", hitShareByLayer }),
      jsonBytes({ locality: { source: "made", hitShareByLayer } }),
    ];
  },
  read: (input) => void parseLocality(parsed(input), "locality.json", MIXTURE),
};

/** The profile of a workload's experts. */
export const hotExperts: Harness = {
  name: "hot-experts",
  form: "json",
  words: ["format", "flashwick.profile", "version", "fingerprint", "nUnits", "hottest", "ab"],
  maxBytes: 128 * 1024,
  limits: LIMITS,
  seeds: async () => [
    jsonBytes({ format: "flashwick.profile", version: 1, fingerprint: "ab", nUnits: 8, hottest: [[0, 1, 7], []] }),
  ],
  read: (input) => void decodeProfile(textOf(input), { fingerprint: "ab", nUnits: 8, nLayers: 2 }, "model.hot.json"),
};

const TASK = { context: "The sky is", endings: [" blue", " green"], label: 0 };

/** Tasks, a line each. */
export const taskFile: Harness = {
  name: "task-file",
  form: "json",
  words: ["context", "endings", "label", '{"context":"a","endings":[" b"," c"],"label":1}', "\n", "\r\n", "\u2028"],
  maxBytes: 128 * 1024,
  limits: LIMITS,
  seeds: async () => [
    jsonBytes(TASK),
    bytesOf(`${JSON.stringify(TASK)}\n\n${JSON.stringify({ ...TASK, label: 1 })}\r\n`),
  ],
  read: (input) => void parseTasks(textOf(input), "tasks.jsonl"),
};

/** FNV-1a over everything but the last four bytes, as the trace's own specification has it (SPEC.md of dram-cache). */
function sealTrace(input: Uint8Array): void {
  if (input.length < 24) return;
  let hash = 0x811c9dc5;
  for (let i = 0; i < input.length - 4; i++) hash = Math.imul(hash ^ input[i]!, 0x01000193);
  new DataView(input.buffer, input.byteOffset).setUint32(input.length - 4, hash >>> 0, true);
}

/** A recorded trace, its checksum mended, mostly. */
export const traceFile: Harness = {
  name: "trace-file",
  form: "bytes",
  words: ["FWTR", "\x01\0\0\0", "\xff\xff\xff\xff", "\x80\x80\x80\x80\x01"],
  maxBytes: 4096,
  limits: LIMITS,
  async seeds() {
    const tokens = Array.from({ length: 5 }, (_, t) => [
      Uint32Array.of(t, t + 3, 200),
      Uint32Array.of(),
      Uint32Array.of(0, 255),
    ]);
    return [encodeTrace({ nLayers: 3, dFf: 256, tokens }), encodeTrace({ nLayers: 1, dFf: 1, tokens: [] })];
  },
  read(input) {
    if (choiceOf(input, 8) !== 0) sealTrace(input);
    decodeTrace(input, "trace.fwtr");
  },
};
