/** What lies beside a model: predictors, checksums, traces, pages of prefixes, profiles of experts. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { IntegrityError, memorySource, type Predictor, Random } from "@flashwick/core";
import { decodeProfile, encodeProfile, profileOfUses } from "@flashwick/dram-cache";
import { decodeTrace, encodeTrace, type NeuronTrace } from "@flashwick/dram-cache/simulate";
import {
  decodeGgufHeader,
  memorySink,
  openModelFile,
  openPredictorFile,
  readPredictorFile,
  type VerifyResult,
  verifyChecksumFile,
  verifyPredictorFile,
  withChecksums,
  writePredictorFile,
} from "@flashwick/flash-format";
import { checkPredictor, type PredictedModel } from "@flashwick/predictor";
import { openPrefixFolder } from "@flashwick/runtime/node";
import type { TinyModel } from "../faults/tiny-models.js";
import type { Exchange, Judge, Region, Subject } from "./damage.js";
import { engineOutput } from "./model-subjects.js";

/** Bytes that are exchanged in a file without records. */
const STRETCH_BYTES = 64;

/** Null is what a reader says that has found damage without an error. */
function expectSome<T>(found: T | null): T {
  if (found === null) throw new IntegrityError("INTEGRITY_TENSOR", "as good as absent");
  return found;
}

function expectOk({ ok, bad }: VerifyResult): void {
  if (!ok) throw new IntegrityError("INTEGRITY_TENSOR", JSON.stringify(bad[0]));
}

/** A header, and everything behind it, in a container of ours. */
function containerRegions(bytes: Uint8Array, header: readonly Judge[], data: readonly Judge[]): Region[] {
  const { headerBytes } = decodeGgufHeader(bytes, "container");
  const must = { ignored: null };
  return [
    { ...must, name: "header", begin: 0, end: headerBytes, judges: header, isWhole: true },
    { ...must, name: "tensors and padding", begin: headerBytes, end: bytes.length, judges: data, isWhole: false },
  ];
}

function stretches(bytes: Uint8Array, sizeBytes: number, isCopy = false): Exchange[] {
  const count = Math.floor(bytes.length / sizeBytes);
  return Array.from({ length: count - 1 }, (_, i) => ({
    what: `bytes from ${i * sizeBytes} on`,
    from: i * sizeBytes,
    to: (i + 1) * sizeBytes,
    ...{ sizeBytes, isCopy },
  }));
}

/** A predictor's file. @param strangers Models that it is not of. */
export async function predictorSubject(
  name: string,
  predictor: Predictor,
  strangers: readonly PredictedModel[],
): Promise<Subject> {
  const sink = memorySink();
  await writePredictorFile(sink, predictor);
  const bytes = sink.committed!.slice();
  const source = memorySource(bytes, name);
  const read = async (from: Uint8Array) => await readPredictorFile(memorySource(from, name));
  const open: Judge = { finder: "open", judge: () => openPredictorFile(source) };
  const judges: Judge[] = [
    { finder: "read", judge: () => read(bytes) },
    { finder: "verify", judge: async () => expectOk(await verifyPredictorFile(source)) },
  ];
  return {
    name,
    kind: "predictor",
    bytes,
    regions: containerRegions(bytes, [open], judges),
    boundaries: [0, 4096, bytes.length],
    exchanges: stretches(bytes, STRETCH_BYTES),
    foreign: strangers.map((model, i) => ({
      what: `predictor beside model ${i} that it is not of`,
      finder: "open" as const,
      use: () => checkPredictor(predictor, model),
    })),
    whole: (changed) => [{ finder: "open", use: () => openPredictorFile(memorySource(changed, name)) }],
    output: read,
  };
}

/** A file of checksums, beside its model. */
export async function checksumSubject(model: TinyModel): Promise<Subject> {
  const bytes = model.checksums!.slice();
  const plain = await openModelFile(memorySource(model.bytes, model.name));
  const use = async (from: Uint8Array) => await withChecksums(plain, memorySource(from, "checksums"));
  const open: Judge = { finder: "open", judge: () => use(bytes) };
  const verify: Judge = {
    finder: "verify",
    judge: async () => expectOk(await verifyChecksumFile(memorySource(bytes))),
  };
  return {
    name: `${model.name}: the checksums`,
    kind: "checksums",
    bytes,
    regions: containerRegions(bytes, [open], [open, verify]),
    boundaries: [0, 4096, bytes.length],
    exchanges: stretches(bytes, 4),
    foreign: [],
    whole: (changed) => [{ finder: "open", use: () => use(changed) }],
    output: async (changed) => (await use(changed)).header.checksums,
  };
}

/** A trace of made-up neurons. @param hasOrigin Version 2: of which model, and what neurons have added. */
export function traceSubject(hasOrigin: boolean): Subject {
  const random = new Random(3);
  const [nLayers, dFf] = [3, 300];
  const set = () => Uint32Array.from({ length: dFf }, (_, i) => i).filter(() => random.below(6) === 0);
  const tokens = Array.from({ length: 40 }, () => Array.from({ length: nLayers }, set));
  const importance = Array.from({ length: nLayers }, () => Float32Array.from({ length: dFf }, () => random.uniform()));
  const origin = { fingerprint: "0123456789abcdef".repeat(4), named: true, importance };
  const trace: NeuronTrace = { nLayers, dFf, tokens, ...(hasOrigin && { origin }) };
  const bytes = encodeTrace(trace);
  const open: Judge = { finder: "open", judge: () => decodeTrace(bytes) };
  const rest = { judges: [open], ignored: null };
  return {
    name: `trace, version ${hasOrigin ? 2 : 1}`,
    kind: "trace",
    bytes,
    regions: [
      { ...rest, name: "header", begin: 0, end: 20, isWhole: true },
      { ...rest, name: "sets", begin: 20, end: bytes.length, isWhole: true },
    ],
    boundaries: Array.from({ length: bytes.length >> 4 }, (_, i) => 16 * i),
    exchanges: stretches(bytes, 16),
    foreign: [],
    whole: (changed) => [{ finder: "open", use: () => decodeTrace(changed) }],
    output: async (changed) => decodeTrace(changed),
  };
}

/** A page of keys and values as a folder of prefixes keeps it. */
export async function prefixSubject(): Promise<Subject> {
  const folder = mkdtempSync(join(tmpdir(), "flashwick-corruption-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const store = await openPrefixFolder(folder, { maxBytes: 2 ** 20 });
  const page = (seed: number) => Uint8Array.from({ length: 2048 }, (_, i) => (seed + 31 * i) & 255);
  const [key, otherKey] = ["a".repeat(64), "b".repeat(64)] as const;
  const path = (of: string) => join(folder, `${of}.kv`);
  await store.write(key, page(1));
  await store.write(otherKey, page(2));
  const bytes = new Uint8Array(readFileSync(path(key)));
  const other = readFileSync(path(otherKey));
  const read = async (changed: Uint8Array) => {
    writeFileSync(path(key), changed);
    return expectSome(await store.read(key, 2048));
  };
  const judge: Judge = { finder: "read", judge: () => read(bytes) };
  const rest = { judges: [judge], ignored: null };
  return {
    name: "page of a prefix",
    kind: "prefix",
    bytes,
    regions: [
      { ...rest, name: "header", begin: 0, end: 16, isWhole: true },
      { ...rest, name: "keys and values", begin: 16, end: bytes.length, isWhole: true },
    ],
    boundaries: [0, 16, bytes.length],
    exchanges: stretches(bytes, 16),
    foreign: [{ what: "the page of other tokens", finder: "read", use: () => read(other) }],
    whole: (changed) => [{ finder: "read", use: () => read(changed) }],
    output: read,
  };
}

/** The experts that a workload used most: JSON without a checksum, on which nothing depends but what DRAM holds first. */
export async function profileSubject(mixture: TinyModel): Promise<Subject> {
  const { header } = await openModelFile(memorySource(mixture.bytes, mixture.name));
  const { fingerprint } = header;
  const counts = header.experts.map((layer) => layer?.count ?? 0);
  const nUnits = Math.max(...counts);
  const uses = counts.map((count) => Array.from({ length: nUnits }, (_, i) => (i < count && i % 2 === 0 ? i + 1 : 0)));
  const bytes = new TextEncoder().encode(encodeProfile(profileOfUses(fingerprint, uses)));
  const model = { fingerprint, nUnits, nLayers: counts.length };
  const decode = (from: Uint8Array) => decodeProfile(new TextDecoder().decode(from), model);
  const open: Judge = { finder: "open", judge: () => decode(bytes) };
  const ignored = "it says what DRAM holds first, and no output depends on that";
  return {
    name: "profile of experts",
    kind: "profile",
    bytes,
    regions: [{ name: "text", begin: 0, end: bytes.length, judges: [open], isWhole: true, ignored }],
    boundaries: [],
    exchanges: [],
    foreign: [
      {
        what: "the profile of another model",
        finder: "open",
        use: () => decodeProfile(new TextDecoder().decode(bytes), { ...model, fingerprint: "0".repeat(64) }),
      },
    ],
    // What is cut off is no JSON; what comes behind it neither. A blank is.
    whole: (changed) => [{ finder: "open", use: () => decode(changed) }],
    async output(changed) {
      return await engineOutput(
        { ...mixture, options: { ...mixture.options, hotExperts: decode(changed) } },
        mixture.bytes,
      );
    },
  };
}
