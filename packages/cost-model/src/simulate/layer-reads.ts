/** From a layer's missing neurons to batches of reads: sizes and counts in whole reads, bytes kept to the last one. */
import type { FlashProfile } from "../device-profile.js";
import { missingReads } from "../missing-reads.js";
import type { ModelShape } from "../model-shape.js";
import type { EngineSettings } from "../pass-request.js";
import { batchMs, bufferedReadMs } from "../read-time.js";
import { MOST_STREAM_READ_BYTES } from "../stream-reads.js";
import type { NeuronUse } from "./neuron-use.js";
import type { ReadBatch, ReadGroup } from "./read-queue.js";
import { ReadServices } from "./read-service.js";

/** What is to be read, whoever reads it. */
export interface LayerReads {
  readonly groups: readonly { readonly count: number; readonly sizeBytes: number }[];
  /** Pieces of memory beyond one a read. */
  readonly extraPieces: number;
  /** One long read, in pieces. */
  readonly isStream: boolean;
}

/** The reads of one token and layer. */
export function layerReads(
  shape: ModelShape,
  settings: EngineSettings,
  use: NeuronUse,
  clumping: number | null,
): LayerReads {
  const isStream = settings.mode === "dense";
  if (use.missing === 0) return { groups: [], extraPieces: 0, isStream };
  if (isStream) {
    const bytes = use.missing * shape.strideBytes * shape.readsPerNeuron;
    return { groups: evenGroup(Math.ceil(bytes / MOST_STREAM_READ_BYTES), bytes), extraPieces: 0, isStream };
  }
  if (use.runs) return recordedReads(shape, use.runs, use.extraPieces);
  const { count, bytes, extraPieces } = missingReads(shape, use.missing, settings.mergeGapBytes, clumping);
  return { groups: evenGroup(Math.max(1, Math.round(count)), bytes), extraPieces, isStream };
}

function evenGroup(count: number, bytes: number): LayerReads["groups"] {
  return [{ count, sizeBytes: bytes / count }];
}

function recordedReads(
  { strideBytes, readsPerNeuron }: ModelShape,
  runs: readonly number[],
  extraPieces: number | undefined,
): LayerReads {
  const neurons = runs.reduce((sum, run) => sum + run, 0);
  const groups: { count: number; sizeBytes: number }[] = [];
  for (const run of runs) {
    const last = groups.at(-1);
    // Equal neighbours are one event in the queue.
    if (last?.sizeBytes === run * strideBytes) last.count += readsPerNeuron;
    else groups.push({ count: readsPerNeuron, sizeBytes: run * strideBytes });
  }
  return { groups, extraPieces: (extraPieces ?? neurons - runs.length) * readsPerNeuron, isStream: false };
}

export function readsBytes({ groups }: LayerReads): number {
  return groups.reduce((sum, { count, sizeBytes }) => sum + count * sizeBytes, 0);
}

export function readsCount({ groups }: LayerReads): number {
  return groups.reduce((sum, { count }) => sum + count, 0);
}

/** The part of the reads between two shares of them, with their pieces: cutting [0, 1] into parts loses none and doubles none. */
export function readsBetween(reads: LayerReads, from: number, to: number): LayerReads {
  let before = 0;
  const all = readsCount(reads);
  const [first, end] = [Math.round(from * all), Math.round(to * all)];
  const groups = reads.groups.map(({ count, sizeBytes }) => {
    const taken = Math.max(0, Math.min(end, before + count) - Math.max(first, before));
    before += count;
    return { count: taken, sizeBytes };
  });
  // Pieces go with their reads: a part without any would lose them.
  const extraPieces = all === 0 ? 0 : (reads.extraPieces * (end - first)) / all;
  return { ...reads, groups: groups.filter(({ count }) => count > 0), extraPieces };
}

/** Puts reads into a device's terms. Keeps what it has looked up. */
export class ReadBatches {
  readonly #flash: FlashProfile;
  readonly #readers: number;
  readonly #services: ReadServices;

  /** @param readers At least 1. */
  constructor(flash: FlashProfile, readers: number) {
    this.#flash = flash;
    this.#readers = readers;
    this.#services = new ReadServices(flash, readers);
  }

  batch(reads: LayerReads): ReadBatch {
    const count = readsCount(reads);
    const service = (sizeBytes: number) =>
      reads.isStream ? this.#services.stream(sizeBytes) : this.#services.random(sizeBytes);
    const groups = reads.groups.map((group): ReadGroup => ({ ...group, fullMs: service(group.sizeBytes).fullMs }));
    const { speedup } = service(count > 0 ? readsBytes(reads) / count : MOST_STREAM_READ_BYTES);
    const pieces = (reads.extraPieces * this.#flash.pieceUs) / 1000;
    const inFlight = reads.isStream ? this.#readers : Math.min(this.#readers, Math.max(1, count));
    return { groups, speedup, lateMs: batchMs(this.#flash, inFlight) + pieces };
  }
}

/** Milliseconds of reads by the calling thread, through the page cache. */
export function pageCacheMs(flash: FlashProfile, reads: LayerReads): number {
  return bufferedReadMs(flash, readsCount(reads), readsBytes(reads));
}
