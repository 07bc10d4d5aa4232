/** The checkpoint to be scaled, in memory as f32: small enough for that, since it is what scaling starts from. */
import { memorySource, neuronGrid, type RecordRole, recordPart } from "@flashwick/core";
import {
  createModelWriter,
  type ModelFile,
  type ModelHeader,
  memorySink,
  openModelFile,
  readResidentTensor,
  recordLayout,
} from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";

/** The weights of a layer's neurons: row i is neuron i's. */
export interface SourceNeurons {
  /** f32 `[dFf, dModel]`; null where neurons have no gate. */
  readonly gate: Float32Array | null;
  /** f32 `[dFf, dModel]` */
  readonly up: Float32Array;
  /** f32 `[dFf, dModel]`, neuron i's column as row i. */
  readonly down: Float32Array;
}

export interface SourceModel {
  readonly header: ModelHeader;
  /** A resident tensor, f32 `[rows, cols]`. */
  readTensor(name: string): Promise<Float32Array>;
  readNeurons(layer: number): Promise<SourceNeurons>;
}

/**
 * Reads a checkpoint folder.
 *
 * @throws {FormatError} `CHECKPOINT_…`. {UnsupportedError}.
 * Cost: the weights in f32, in memory, for as long as the result is held.
 */
export async function openSourceModel(checkpointDir: string): Promise<SourceModel> {
  const folder = await openCheckpointFolder(checkpointDir);
  const sink = memorySink(folder.name);
  await convertCheckpoint(folder, (spec) => createModelWriter(sink, spec), { dtype: "f32" });
  const file = await openModelFile(memorySource(sink.committed!, folder.name));
  return {
    header: file.header,
    async readTensor(name) {
      const tensor = file.header.tensors.get(name)!;
      const values = new Float32Array(tensor.rows * tensor.cols);
      await readResidentTensor(file, tensor, new Uint8Array(values.buffer));
      return values;
    },
    readNeurons: (layer) => readNeurons(file, layer),
  };
}

async function readNeurons({ header, source }: ModelFile, layer: number): Promise<SourceNeurons> {
  const { dFf, dModel } = neuronGrid(header.geometry);
  const layout = recordLayout(header);
  const { strideBytes } = layout;
  const records = new Float32Array((dFf * strideBytes) / 4);
  await source.read(new Uint8Array(records.buffer), header.records[layer]!.offset);
  const rowsAt = (offsetBytes: number) => {
    const rows = new Float32Array(dFf * dModel);
    for (let i = 0; i < dFf; i++) {
      const from = (i * strideBytes + offsetBytes) / 4;
      rows.set(records.subarray(from, from + dModel), i * dModel);
    }
    return rows;
  };
  const rowsOf = (role: RecordRole) => rowsAt(recordPart(layout, role).offsetBytes);
  const isGated = header.geometry.layers[layer]!.ffn.gated;
  return { gate: isGated ? rowsOf("gate") : null, up: rowsOf("up"), down: rowsOf("down") };
}
