/**
 * The slots of one layer's neurons: whole records, and biases, which come from DRAM.
 *
 * Invariant. A slot's biases are those of `cache.pointer[slot]`.
 */
import { recordPart, type WeightLayout } from "@flashwick/core";
import type { CacheWave } from "@flashwick/dram-cache";
import type { RecordTensor } from "@flashwick/flash-format";
import type { RecordPlaces } from "@flashwick/flash-io";
import { gateRowOf, type Ptr, type SlotMatrix } from "@flashwick/kernels";
import type { StageArea } from "./layer-stream.js";
import { RecordSlots, type RecordSlotsParts } from "./record-slots.js";
import type { ResidentGate } from "./resident-gate.js";

/** Biases of a layer's neurons. */
export interface NeuronBias {
  /** f32 `[dFf]`, by neuron. */
  readonly all: Ptr;
  /** f32 `[slotCount]`: the paper's `bias`, that of the neuron in each slot. */
  readonly slots: Ptr;
}

export interface NeuronSlotsParts extends RecordSlotsParts {
  readonly weights: WeightLayout;
  readonly dModel: number;
  readonly dFf: number;
  /** Of the up projection, and of the gate; null where the layer has none, and of gates that are resident. */
  readonly biases: { readonly up: NeuronBias | null; readonly gate: NeuronBias | null };
  /** Null where neurons have none, or have it in their records. */
  readonly gate: ResidentGate | null;
}

export class NeuronSlots extends RecordSlots<NeuronSlotsParts> {
  readonly matrix: SlotMatrix;
  readonly #biases: readonly NeuronBias[];

  constructor(parts: NeuronSlotsParts) {
    super(parts);
    const { weights, slotBase, biases } = parts;
    this.#biases = [biases.up, biases.gate].filter((bias) => bias !== null);
    const gate = weights.parts.find(({ role }) => role === "gate");
    this.matrix = {
      dtype: weights.dtype,
      base: slotBase,
      strideBytes: weights.slotBytes,
      upOffsetBytes: recordPart(weights, "up").offsetBytes,
      downOffsetBytes: recordPart(weights, "down").offsetBytes,
      scalesOffsetBytes: weights.parts[0]!.scaleOffsetBytes ?? 0,
      dModel: parts.dModel,
      bias: biases.up?.slots ?? 0,
      gate: gate ? { offsetBytes: gate.offsetBytes, bias: biases.gate?.slots ?? 0 } : parts.gate && "given",
    };
  }

  /** The matrix of slots 0 … n−1 at `base` when they hold neurons `first` … in order, so that their biases are those of all neurons from there on. */
  orderedMatrix(base: Ptr, first: number): SlotMatrix {
    const { up, gate } = this.parts.biases;
    return this.#matrixAt(base, up ? up.all + 4 * first : 0, gate ? gate.all + 4 * first : 0);
  }

  /** The matrix of the slots of `area`, which hold `neurons` in order; their biases are brought there. */
  stagedMatrix(area: StageArea, neurons: Uint32Array): SlotMatrix {
    const { up, gate } = this.parts.biases;
    if (up) this.#gatherBiases(up, area.upBias, neurons);
    if (gate) this.#gatherBiases(gate, area.gateBias, neurons);
    return this.#matrixAt(area.ptr, up ? area.upBias : 0, gate ? area.gateBias : 0);
  }

  #matrixAt(base: Ptr, upBias: Ptr, gateBias: Ptr): SlotMatrix {
    const row = gateRowOf(this.matrix);
    return { ...this.matrix, base, bias: upBias, gate: row ? { ...row, bias: gateBias } : this.matrix.gate };
  }

  /** Gives the slots that a wave fills or moves to the biases of their neurons. */
  override describeWave(wave: CacheWave): void {
    const { kernels } = this.parts;
    if (wave.moves.length + wave.misses.length === 0) return;
    const { pointer } = this.cache;
    for (const bias of this.#biases) {
      const { slots, all } = this.#biasViews(bias);
      for (let i = 1; i < wave.moves.length; i += 2) slots[wave.moves[i]!] = all[pointer[wave.moves[i]!]!]!;
      for (let i = 0; i < wave.misses.length; i++) {
        const miss = wave.misses[i]!;
        slots[wave.slots[miss]!] = all[wave.neurons[miss]!]!;
      }
      kernels.put(bias.slots, 4 * this.cache.slotCount);
    }
  }

  /** Gives every slot in use the biases of its neuron. */
  override describeAll(): void {
    const { pointer, numUsed, slotCount } = this.cache;
    for (const bias of this.#biases) {
      const { slots, all } = this.#biasViews(bias);
      for (let slot = 0; slot < numUsed; slot++) slots[slot] = all[pointer[slot]!]!;
      this.parts.kernels.put(bias.slots, 4 * slotCount);
    }
  }

  #biasViews({ slots, all }: NeuronBias): { readonly slots: Float32Array; readonly all: Float32Array } {
    const { arena } = this.parts.kernels;
    return { slots: arena.f32(slots, this.cache.slotCount), all: arena.f32(all, this.parts.dFf) };
  }

  /** The biases of neurons in order, at `out`. */
  #gatherBiases(bias: NeuronBias, out: Ptr, neurons: Uint32Array): void {
    const { kernels } = this.parts;
    const biases = kernels.arena.f32(out, neurons.length);
    const { all } = this.#biasViews(bias);
    for (let i = 0; i < neurons.length; i++) biases[i] = all[neurons[i]!]!;
    kernels.put(out, 4 * neurons.length);
  }
}

/** Where a layer's neurons lie: one place, or one for each half of a split layout. */
export function neuronPlaces(
  { offset, downOffset }: Pick<RecordTensor, "offset" | "downOffset">,
  { strideBytes, slotBytes }: Pick<WeightLayout, "strideBytes" | "slotBytes">,
  slotBase: Ptr,
): RecordPlaces[] {
  const first = { strideBytes, slotBytes, fileOffset: offset, slotBase };
  if (downOffset === null) return [first];
  return [first, { ...first, fileOffset: downOffset, slotBase: slotBase + strideBytes }];
}
