/** Loading what stays in DRAM, against the reads that it makes. */
import { MiB, memorySource } from "@flashwick/core";
import { openModelFile } from "@flashwick/flash-format";
import { type FlashReader, type FlashRun, memoryReader } from "@flashwick/flash-io";
import { Arena } from "@flashwick/kernels";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { describe, expect, it } from "vitest";
import { modelBytes } from "./checkpoint.fixture.js";
import { ResidentLoader } from "./resident-weights.js";

/** The demo model, every tensor placed, and a reader without threads that tells of each run that it has read. */
async function placeAll(onRun: () => void = () => {}) {
  const bytes = await modelBytes("opt-demo", "f32");
  const file = await openModelFile(memorySource(bytes));
  const arena = new Arena(bytes.byteLength);
  const loader = new ResidentLoader(file);
  loader.globals(arena, true);
  for (let layer = 0; layer < file.header.geometry.layers.length; layer++) loader.layer(arena, layer);
  const inner = memoryReader(bytes);
  let readBytes = 0;
  const reader: FlashReader = {
    ...inner,
    start(memory: Uint8Array, batch: readonly FlashRun[], signal?: AbortSignal) {
      for (const run of batch) {
        inner.start(memory, [run], signal);
        readBytes += run.sizeBytes;
        onRun();
      }
    },
  };
  const load = (onBytes: (bytes: number) => void, signal?: AbortSignal) =>
    loader.load(() => createWasmKernels(arena), reader, onBytes, signal);
  return { loader, load, countBytes: () => readBytes };
}

describe("with readers: 0, loading could not be aborted", () => {
  it("an abort from the progress of the first tensor ends it there", async () => {
    const interrupt = new AbortController();
    const { load, loader, countBytes } = await placeAll();
    let firstTensorBytes = 0;
    const abort = (bytes: number) => {
      firstTensorBytes += bytes;
      interrupt.abort("enough");
    };
    await expect(load(abort, interrupt.signal)).rejects.toBe("enough");
    expect(countBytes()).toBe(firstTensorBytes);
    expect(countBytes()).toBeLessThan(loader.totalBytes / 2);
  });

  it("an abort from the event loop ends it within one more read, also inside of a large tensor", async () => {
    const interrupt = new AbortController();
    let whenAborted = Number.POSITIVE_INFINITY;
    const { load, countBytes } = await placeAll(() => {
      if (countBytes() > MiB) return;
      setImmediate(() => {
        whenAborted = countBytes();
        interrupt.abort("enough");
      });
    });
    await expect(load(() => {}, interrupt.signal)).rejects.toBe("enough");
    expect(countBytes()).toBeLessThanOrEqual(whenAborted + MiB);
  });

  it("reads each byte of the resident tensors once, and reports them all", async () => {
    const { loader, load } = await placeAll();
    let reported = 0;
    const { bytes } = await load((loaded) => {
      reported += loaded;
    });
    expect(bytes).toBe(loader.totalBytes);
    expect(reported).toBe(loader.totalBytes);
  });
});
