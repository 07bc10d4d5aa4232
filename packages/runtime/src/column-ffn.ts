/**
 * The FFN of a layer that is read by columns, in its two stages (decision 0040):
 *
 *     h = f(gate[:, I] · x_I + b_gate) ⊙ g(up[:, I] · x_I + b_up)       I: the inputs that a token uses
 *     y = down[:, J] · h_J                                              J: its neurons
 *
 * With all inputs and all neurons it is the dense FFN of the file, which so adds column by column, too.
 */
import { activationOf, type FfnGeometry, paddedLength, UnsupportedError } from "@flashwick/core";
import type { NeuronCache } from "@flashwick/dram-cache";
import type { Kernels, Ptr } from "@flashwick/kernels";
import type { ColumnSums } from "./column-sums.js";
import type { StreamPass } from "./layer-matrices.js";
import type { ChosenUnits } from "./pruning/chosen-units.js";
import type { FfnPruner } from "./pruning/ffn-pruner.js";
import type { LayerWeights } from "./resident-weights.js";
import { vectorBytes } from "./vector-bytes.js";
import type { Workspace } from "./workspace.js";

export interface ColumnFfnParts {
  readonly layer: number;
  readonly kernels: Kernels;
  readonly workspace: Workspace;
  readonly geometry: FfnGeometry;
  readonly dModel: number;
  readonly biases: Pick<LayerWeights, "gateBias" | "upBias">;
  readonly inputs: ColumnSums;
  readonly outputs: ColumnSums;
}

/** What a step asks of the FFN. */
export interface ColumnPass extends StreamPass {
  /** Null: every token uses everything. */
  readonly pruner: FfnPruner | null;
  /** Sees h of all neurons, f32 `[nTokens, pad(dFf)]` in the arena, beside those that each token uses; null: all. */
  readonly onActivations?: ((act: Ptr, sets: readonly Uint32Array[] | null) => void) | undefined;
}

export class ColumnFfn {
  readonly parts: ColumnFfnParts;

  constructor(parts: ColumnFfnParts) {
    this.parts = parts;
  }

  /** Of inputs, and of neurons. */
  get caches(): readonly [NeuronCache, NeuronCache] {
    const { inputs, outputs } = this.parts;
    return [inputs.slots.cache, outputs.slots.cache];
  }

  /**
   * workspace.blockOut += the FFN of each token of workspace.ffnInput, without the bias of down.
   *
   * @returns The caches that the tokens were admitted to.
   * @throws As `ColumnSums.add`. {UnsupportedError} `UNSUPPORTED_FEATURE` for a pruner that judges by gates, which are not read by themselves here.
   */
  async compute(pass: ColumnPass): Promise<NeuronCache[]> {
    const { layer, workspace: w, dModel, geometry, inputs, outputs } = this.parts;
    const { pruner, nTokens, ahead, meter, signal, onActivations } = pass;
    if (pruner?.seesGates) throw gatesInColumns(layer);
    const ofInputs = pruner && (await this.#choose(w.ffnInput, dModel, pass, (x) => pruner.inputs(layer, x)));
    const sums = geometry.gated ? [w.gate, w.act] : [w.act];
    this.#clear(sums, nTokens);
    const first = { coefficients: w.ffnInput, outs: sums, gathered: w.mixed, chosen: ofInputs };
    const isFirstAdmitted = await inputs.add({ ...first, nTokens, signal }, ahead, meter);
    meter.enter("ffn");
    this.#activate(nTokens);
    const ofOutputs = pruner && (await this.#choose(w.act, geometry.dFf, pass, (h) => pruner.outputs(layer, h)));
    const { all } = outputs.slots.parts;
    onActivations?.(w.act, ofOutputs?.map(({ units }) => units ?? all) ?? null);
    const second = { coefficients: w.act, outs: [w.blockOut], gathered: w.gate, chosen: ofOutputs };
    const isSecondAdmitted = await outputs.add({ ...second, nTokens, signal }, ahead, meter);
    const [ofInput, ofNeuron] = this.caches;
    return [...(isFirstAdmitted ? [ofInput] : []), ...(isSecondAdmitted ? [ofNeuron] : [])];
  }

  /** Asks about the rows of a vector one by one, in their order. */
  async #choose(
    rows: Ptr,
    width: number,
    { nTokens, meter }: ColumnPass,
    ask: (row: Float32Array) => ChosenUnits,
  ): Promise<ChosenUnits[]> {
    const { kernels } = this.parts;
    const pending = kernels.take(rows, nTokens * vectorBytes(width));
    if (pending) await pending;
    meter.enter("predict");
    return Array.from({ length: nTokens }, (_, t) => ask(kernels.arena.f32(rows + t * vectorBytes(width), width)));
  }

  #clear(sums: readonly Ptr[], nTokens: number): void {
    const { kernels, geometry } = this.parts;
    for (const sum of sums) kernels.zero(sum, nTokens * paddedLength(geometry.dFf));
  }

  /** workspace.act = h, of the sums without biases. */
  #activate(nTokens: number): void {
    const { kernels, workspace: w, geometry, biases } = this.parts;
    const rowBytes = vectorBytes(geometry.dFf);
    const count = nTokens * paddedLength(geometry.dFf);
    const padded = (geometry.dFf + 3) & ~3;
    for (let t = 0; t < nTokens; t++) {
      if (biases.gateBias !== 0) kernels.add(w.gate + t * rowBytes, biases.gateBias, padded);
      if (biases.upBias !== 0) kernels.add(w.act + t * rowBytes, biases.upBias, padded);
    }
    if (!geometry.gated) {
      // Up takes the gate's place, beside ones.
      kernels.arena.f32(w.gate, count).fill(1);
      kernels.put(w.gate, 4 * count);
    }
    const [gate, up] = geometry.gated ? [w.gate, w.act] : [w.act, w.gate];
    kernels.gate(w.act, gate, up, count, activationOf(geometry));
  }
}

function gatesInColumns(layer: number): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `layer ${layer} is read by columns, which hold gate and up together, so that no gate is seen by itself; expected a plan of dip, dip-norms or teal`,
    { details: { layer } },
  );
}
