import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isFlashwickError } from "@flashwick/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LayerSamples } from "../sample-store.js";
import { FIXTURE_SHAPE, fixtureSamples, recordDocuments } from "../samples.fixture.js";
import { FileSampleStore, openFileSamples } from "./file-sample-store.js";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "flashwick-samples-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const open = (resume: boolean, identity = "fixture") =>
  new FileSampleStore(directory, FIXTURE_SHAPE, { identity, resume });

/** Records documents into a store that is closed again. */
function record(from: number, to: number, resume: boolean): void {
  const store = open(resume);
  expect(store.nextDocument).toBe(from);
  recordDocuments(store, from, to);
  store.close();
}

/** Everything that can be read of a layer. */
function contents(samples: LayerSamples) {
  const { layer, counts, layout } = samples;
  const train = new Uint8Array(counts.trainTokens * layout.recordBytes);
  samples.readTrain(
    Uint32Array.from({ length: counts.trainTokens }, (_, i) => counts.trainTokens - 1 - i),
    train,
  );
  const heldOut = new Uint8Array(counts.heldOutTokens * layout.recordBytes);
  samples.readHeldOut(0, counts.heldOutTokens, heldOut);
  const magnitudes = new Float32Array(counts.heldOutActive);
  samples.readMagnitudes(0, magnitudes);
  return { layer, counts, train, heldOut, magnitudes };
}

/** Compares every layer on disk with a recording in memory. */
function expectDocuments(documents: number, preloadBytes?: number): void {
  const memory = fixtureSamples(documents);
  for (let layer = 0; layer < FIXTURE_SHAPE.nLayers; layer++) {
    const file = openFileSamples(directory, layer, preloadBytes);
    expect(contents(file)).toEqual(contents(memory.layer(layer)));
    file.close();
  }
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (isFlashwickError(error)) return error.code;
    throw error;
  }
  return "no error";
}

describe("FileSampleStore", () => {
  it("gives back what a memory store gives back", () => {
    record(0, 12, false);
    expectDocuments(12);
  });

  it("does so without preloading, too", () => {
    record(0, 12, false);
    expectDocuments(12, 0);
  });

  it("resumes after the last committed document; what came after it is dropped", () => {
    record(0, 5, false);
    const store = open(true);
    const interrupted = fixtureSamples(7).layer(0);
    const records = new Uint8Array(interrupted.layout.recordBytes);
    interrupted.readTrain(Uint32Array.of(0), records);
    store.append(0, { heldOut: false, nTokens: 1, records, magnitudes: new Float32Array(0), active: 3 });
    store.close();
    record(5, 12, true);
    expectDocuments(12);
  });

  it("without resume, begins anew", () => {
    record(0, 12, false);
    record(0, 3, false);
    expectDocuments(3);
  });

  it("readers see what is committed, while the writer goes on", () => {
    const store = open(false);
    recordDocuments(store, 0, 4);
    const reader = store.layer(0);
    recordDocuments(store, 4, 6);
    expect(reader.counts.trainTokens + reader.counts.heldOutTokens).toBe(200);
    const later = openFileSamples(directory, 0);
    expect(later.counts.trainTokens + later.counts.heldOutTokens).toBe(300);
    for (const each of [reader, later, store, store]) each.close();
  });

  it("another recording is not resumed, but may be overwritten", () => {
    record(0, 2, false);
    expect(codeOf(() => open(true, "another text"))).toBe("INPUT_INVALID");
    open(false, "another text").close();
    expect(openFileSamples(directory, 0).counts.trainTokens).toBe(0);
  });
});

describe("damage", () => {
  const manifest = () => join(directory, "samples.json");

  it("a directory without samples, and a layer that is not there", () => {
    expect(codeOf(() => openFileSamples(directory, 0))).toBe("IO_NOT_FOUND");
    record(0, 1, false);
    expect(codeOf(() => openFileSamples(directory, 2))).toBe("IO_NOT_FOUND");
  });

  it("a file shorter than its manifest says", () => {
    record(0, 4, false);
    const path = join(directory, "layer-1.train");
    truncateSync(path, statSync(path).size - 1);
    expect(codeOf(() => openFileSamples(directory, 1))).toBe("FORMAT_TRUNCATED");
    expect(codeOf(() => open(true))).toBe("FORMAT_TRUNCATED");
  });

  it("bytes beyond what is committed are not read, and cut off on resuming", () => {
    record(0, 4, false);
    appendFileSync(join(directory, "layer-1.held-out"), "interrupted");
    expectDocuments(4);
    open(true).close();
    expectDocuments(4);
    expect(statSync(join(directory, "layer-1.held-out")).size).toBe(
      50 * openFileSamples(directory, 1).layout.recordBytes,
    );
  });

  it.each([
    ["no JSON", () => "{", "FORMAT_INVALID"],
    ["no object", () => "null", "FORMAT_INVALID"],
    ["another version", (text: string) => text.replace('"version": 1', '"version": 2'), "FORMAT_VERSION"],
    ["absurd layers", (text: string) => text.replace('"nLayers": 2', '"nLayers": 1e15'), "FORMAT_INVALID"],
    ["layers missing", (text: string) => text.replace('"nLayers": 2', '"nLayers": 3'), "FORMAT_INVALID"],
    ["a negative count", (text: string) => text.replace('"trainTokens": 150', '"trainTokens": -1'), "FORMAT_INVALID"],
    ["no identity", (text: string) => text.replace('"identity": "fixture"', '"identity": 5'), "FORMAT_INVALID"],
  ])("a manifest with %s", (_, damage, code) => {
    record(0, 4, false);
    const text = readFileSync(manifest(), "utf8");
    expect(damage(text)).not.toBe(text);
    writeFileSync(manifest(), damage(text));
    expect(codeOf(() => openFileSamples(directory, 0))).toBe(code);
  });
});
