/**
 * The gate of one layer's neurons, whole and in DRAM, where records have none (docs/decisions/0039). What it says of a step's tokens is computed once,
 * whoever chooses the neurons; those that are computed get their sums of it.
 */
import { paddedLength } from "@flashwick/core";
import type { Kernels, Matrix, Ptr } from "@flashwick/kernels";
import type { Workspace } from "./workspace.js";

export interface ResidentGateParts {
  readonly kernels: Kernels;
  readonly workspace: Workspace;
  /** `[dFf, dModel]` */
  readonly weight: Matrix;
  /** f32 `[dFf]`, or 0. */
  readonly bias: Ptr;
}

export class ResidentGate {
  readonly #parts: ResidentGateParts;

  constructor(parts: ResidentGateParts) {
    this.#parts = parts;
  }

  /** `[dFf, dModel]` */
  get weight(): Matrix {
    return this.#parts.weight;
  }

  /** Elements from one token's sums to the next's. */
  get rowLength(): number {
    return paddedLength(this.#parts.weight.rows);
  }

  /**
   * workspace.gate[t] = gate · x[t] + bias, f32 `[nTokens, pad(dFf)]`, for ops and for the host: a promise only where they have memories of their own.
   *
   * @param x f32 `[nTokens, pad(dModel)]`.
   * Cost: reads the matrix once; 2 · dFf · dModel · nTokens FLOP.
   */
  compute(x: Ptr, nTokens: number): void | Promise<void> {
    const { kernels, workspace, weight, bias } = this.#parts;
    kernels.linear(workspace.gate, x, weight, bias, nTokens, workspace.scratch);
    return kernels.take(workspace.gate, 4 * nTokens * this.rowLength);
  }

  /**
   * workspace.act[t, i] = the sum of neuron `neuronOf(i)` for i in [begin, end): what `ffnUp` expects of a given gate.
   *
   * @param n Neurons in a row of workspace.act.
   */
  give(n: number, nTokens: number, begin: number, end: number, neuronOf: (i: number) => number): void {
    const { kernels, workspace } = this.#parts;
    const { rowLength } = this;
    const actLength = paddedLength(n);
    const sums = kernels.arena.f32(workspace.gate, nTokens * rowLength);
    const act = kernels.arena.f32(workspace.act, nTokens * actLength);
    for (let i = begin; i < end; i++) {
      const neuron = neuronOf(i);
      for (let t = 0; t < nTokens; t++) act[t * actLength + i] = sums[t * rowLength + neuron]!;
    }
    if (kernels.mirrored) kernels.put(workspace.act, 4 * nTokens * actLength);
  }
}
