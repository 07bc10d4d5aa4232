import { expect, it } from "vitest";
import { MemorySampleStore, openMemorySamples } from "./memory-sample-store.js";
import { planSampleLayout } from "./sample-layout.js";
import { fixtureSamples } from "./samples.fixture.js";

it("gives back every record, across chunks", () => {
  // 2560 bytes a record, hence 1638 records a chunk; 2000 records in batches of 700.
  const shape = { nLayers: 1, dModel: 1024, dFf: 4096 };
  const { recordBytes } = planSampleLayout(shape.dModel, shape.dFf);
  const store = new MemorySampleStore(shape);
  const numbered = (first: number, count: number) => {
    const records = new Uint8Array(count * recordBytes);
    for (let i = 0; i < count; i++) records.fill((first + i) % 251, i * recordBytes, (i + 1) * recordBytes);
    return records;
  };
  for (const [first, count] of [
    [0, 700],
    [700, 700],
    [1400, 600],
  ] as const) {
    const records = numbered(first, count);
    store.append(0, { heldOut: false, nTokens: count, records, magnitudes: new Float32Array(0), active: 3 * count });
  }
  const samples = store.layer(0);
  expect(samples.counts).toEqual({ trainTokens: 2000, heldOutTokens: 0, trainActive: 6000, heldOutActive: 0 });
  const out = new Uint8Array(3 * recordBytes);
  samples.readTrain(Uint32Array.of(1637, 1638, 5), out);
  expect(out).toEqual(Uint8Array.from([...numbered(1637, 2), ...numbered(5, 1)]));
});

it("reads held-out records and magnitudes from anywhere", () => {
  const samples = fixtureSamples(20).layer(1);
  const { heldOutTokens, heldOutActive } = samples.counts;
  expect(heldOutTokens).toBe(100);
  const { recordBytes } = samples.layout;
  const all = new Uint8Array(heldOutTokens * recordBytes);
  samples.readHeldOut(0, heldOutTokens, all);
  const some = new Uint8Array(2 * recordBytes);
  samples.readHeldOut(50, 2, some);
  expect(some).toEqual(all.subarray(50 * recordBytes, 52 * recordBytes));
  const magnitudes = new Float32Array(heldOutActive);
  samples.readMagnitudes(0, magnitudes);
  expect(magnitudes.every((magnitude) => magnitude > 0)).toBe(true);
  const last = new Float32Array(1);
  samples.readMagnitudes(heldOutActive - 1, last);
  expect(last[0]).toBe(magnitudes.at(-1));
});

it("a layer's data can be cloned and opened elsewhere", () => {
  const store = fixtureSamples(5);
  const here = new Uint8Array(2 * store.layer(0).layout.recordBytes);
  const there = new Uint8Array(here.length);
  store.layer(0).readTrain(Uint32Array.of(3, 99), here);
  openMemorySamples(structuredClone(store.layerData(0))).readTrain(Uint32Array.of(3, 99), there);
  expect(there).toEqual(here);
  expect(here.some((byte) => byte !== 0)).toBe(true);
});

it("shared chunks are shared memory", () => {
  const store = new MemorySampleStore({ nLayers: 1, dModel: 8, dFf: 8 }, true);
  store.append(0, {
    heldOut: false,
    nTokens: 1,
    records: new Uint8Array(32),
    magnitudes: new Float32Array(0),
    active: 0,
  });
  expect(store.layerData(0).train.chunks[0]!.buffer).toBeInstanceOf(SharedArrayBuffer);
});
