/** Model files: ours, which carry checksums, and llama.cpp's with checksums beside them. */
import { memorySource } from "@flashwick/core";
import {
  layerTensors,
  type ModelFile,
  memorySink,
  openModelFile,
  recordLayout,
  withChecksums,
  writeChecksumFile,
} from "@flashwick/flash-format";
import { memoryReader } from "@flashwick/flash-io";
import { logitsOf, openTiny, type TinyModel } from "../faults/tiny-models.js";
import { CheckedUnits } from "./checked-units.js";
import type { Foreign, Judge, Subject } from "./damage.js";
import {
  boundariesOf,
  columnParts,
  expectGood,
  expertParts,
  headerOf,
  matrixParts,
  recordParts,
  residentParts,
  sectorExchanges,
  unitExchanges,
  withGaps,
} from "./model-regions.js";

/** A model of ours. @param other One of the same shape and other weights: whose records are put in place of this one's. */
export async function ownSubject(model: TinyModel, other: TinyModel | null): Promise<Subject> {
  const bytes = model.bytes.slice();
  const file = await openModelFile(memorySource(bytes, model.name));
  const units = await CheckedUnits.open(file, bytes);
  const verify: Judge = { finder: "verify", judge: () => expectGood(file) };
  const parts = [
    ...(await residentParts(file)),
    ...recordParts(file, units),
    ...columnParts(file, units),
    ...expertParts(file, units),
  ];
  return {
    name: model.name,
    kind: "model",
    bytes,
    regions: [
      headerOf(bytes, model.name, () => openModelFile(memorySource(bytes, model.name))),
      ...withGaps(file, bytes, parts, "padding", [verify], null),
    ],
    boundaries: boundariesOf(file, parts),
    exchanges: [...unitExchanges(file), ...sectorExchanges(file, bytes.length)],
    foreign: other ? foreignRecords(file, bytes, units, other) : [],
    whole: (changed) => [{ finder: "open", use: () => openModelFile(memorySource(changed)) }],
    output: (changed) => engineOutput(model, changed),
  };
}

/** A file of llama.cpp's, with checksums beside it. @param others Of other files: their checksums. */
export async function foreignSubject(model: TinyModel, others: readonly TinyModel[]): Promise<Subject> {
  const bytes = model.bytes.slice();
  const checksums = model.checksums!;
  const open = async (changed: Uint8Array) =>
    await withChecksums(await openModelFile(memorySource(changed, model.name)), memorySource(checksums));
  const file = await open(bytes);
  const units = await CheckedUnits.open(file, bytes);
  const openNow: Judge = { finder: "open", judge: () => open(bytes) };
  const parts = [...matrixParts(file, bytes), ...expertParts(file, units)];
  const why = "no tensor that anything reads has them";
  return {
    name: model.name,
    kind: "gguf with checksums",
    bytes,
    regions: [
      headerOf(bytes, model.name, () => open(bytes)),
      ...withGaps(file, bytes, parts, "between tensors", [openNow], why),
    ],
    boundaries: boundariesOf(file, parts),
    exchanges: [...unitExchanges(file), ...sectorExchanges(file, bytes.length)],
    foreign: others.flatMap((other) => foreignChecksums(model, other)),
    whole: (changed) => [{ finder: "open", use: () => open(changed) }],
    output: (changed) => engineOutput(model, changed),
  };
}

/** Logits of the whole engine over these bytes. */
export async function engineOutput(model: TinyModel, bytes: Uint8Array): Promise<unknown> {
  const opened = await openTiny(model, memorySource(bytes, model.name), memoryReader(bytes));
  try {
    return await logitsOf(opened);
  } finally {
    await opened.close();
  }
}

/** Records of a model of the same shape, and other weights, in their own places of this one. */
function foreignRecords(file: ModelFile, bytes: Uint8Array, units: CheckedUnits, other: TinyModel): Foreign[] {
  const { header } = file;
  return header.records.flatMap(({ layer, offset }) => {
    const { strideBytes } = recordLayout(header);
    return Array.from(
      { length: header.geometry.layers[layer]!.ffn.dFf },
      (_, neuron): Foreign => ({
        what: `record ${neuron} of layer ${layer} of ${other.name}`,
        finder: "read",
        use() {
          const at = offset + neuron * strideBytes;
          const own = bytes.slice(at, at + strideBytes);
          bytes.set(other.bytes.subarray(at, at + strideBytes), at);
          try {
            units.checkRecord(layer, neuron);
          } finally {
            bytes.set(own, at);
          }
        },
      }),
    );
  });
}

/** Checksums of another file: of other headers, and of the same header with other weights, as of a model that was trained on. */
function foreignChecksums(model: TinyModel, other: TinyModel): Foreign[] {
  const plain = () => openModelFile(memorySource(model.bytes, model.name));
  return [
    {
      what: `checksums of ${other.name}`,
      finder: "open",
      use: async () => await withChecksums(await plain(), memorySource(other.checksums!)),
    },
    {
      what: `checksums of the same header and other weights`,
      finder: "read",
      async use() {
        const changed = model.bytes.slice();
        const { header } = await plain();
        // One bit of each tensor that an engine reads.
        for (const { offset, sizeBytes } of [...header.tensors.values(), ...layerTensors(header)])
          changed[offset + (sizeBytes >> 1)]! ^= 1;
        const sink = memorySink();
        await writeChecksumFile(sink, await openModelFile(memorySource(changed)));
        await engineOutput({ ...model, checksums: sink.committed! }, model.bytes);
      },
    },
  ];
}
