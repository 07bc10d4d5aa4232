/**
 * What the FFNs of a mixture's layer compute, once their matrices are there: visits of experts, what every token uses, and sums over experts. A row's
 * products depend on that row alone, and its sum is in ascending order of experts: the same bits whichever rows come together.
 */
import { type ActivationFunction, assert, paddedLength } from "@flashwick/core";
import type { Kernels, Ptr } from "@flashwick/kernels";
import type { ExpertSlots } from "./expert-slots.js";
import type { ExpertVisit, StepVisits } from "./expert-visits.js";
import type { FfnWeights, MixtureWeights } from "./resident-weights.js";
import { vectorBytes } from "./vector-bytes.js";
import type { Workspace } from "./workspace.js";

export interface ExpertArithmeticParts {
  readonly kernels: Kernels;
  readonly workspace: Workspace;
  readonly weights: MixtureWeights;
  readonly dModel: number;
  readonly gated: boolean;
  readonly activation: ActivationFunction;
}

export class ExpertArithmetic {
  readonly #parts: ExpertArithmeticParts;

  constructor(parts: ExpertArithmeticParts) {
    assert(!parts.kernels.mirrored, "experts are computed on the host");
    this.#parts = parts;
  }

  /** The outputs of one expert for the rows that use it. */
  visit(slots: ExpertSlots, { expert, rows, firstOutput }: ExpertVisit, slot: number, x: Ptr, nTokens: number): void {
    const { kernels, workspace: w, dModel, gated, weights } = this.#parts;
    const { biases } = weights;
    const biasOf = (all: Ptr, n: number) => (all === 0 ? 0 : all + 4 * expert * n);
    const up = slots.matrix("up", expert, slot);
    const ffn: FfnWeights = {
      gate: gated ? { weight: slots.matrix("gate", expert, slot), bias: biasOf(biases.gate, up.rows) } : null,
      up: { weight: up, bias: biasOf(biases.up, up.rows) },
      down: { weight: slots.matrix("down", expert, slot), bias: biasOf(biases.down, dModel) },
    };
    let input = x;
    // Rows of an expert that every row uses lie side by side already.
    if (rows.length < nTokens) {
      kernels.arena.u32(w.visitRows, rows.length).set(rows);
      kernels.copyRows(w.visitInput, x, w.visitRows, rows.length, dModel);
      input = w.visitInput;
    }
    this.#multiply(w.visitOutput + firstOutput * vectorBytes(dModel), input, ffn, rows.length);
  }

  /** out = down · (f(gate · x) ⊙ g(up · x)), or down · f(up · x), with their biases. */
  #multiply(out: Ptr, x: Ptr, { gate, up, down }: FfnWeights, nTokens: number): void {
    const { kernels, workspace: w, activation } = this.#parts;
    const { rows } = up.weight!;
    const count = nTokens * paddedLength(rows);
    // Behind shorter rows another width's may have been left, which the next product would meet.
    if (rows !== paddedLength(rows)) kernels.zero(w.act, count);
    kernels.linear(w.act, x, up.weight!, up.bias, nTokens, w.scratch);
    if (gate) kernels.linear(w.gate, x, gate.weight!, gate.bias, nTokens, w.scratch);
    // Without a gate up takes its place, beside ones.
    if (gate) kernels.gate(w.act, w.gate, w.act, count, activation);
    else kernels.gate(w.act, w.act, w.gate, count, activation);
    kernels.linear(out, w.act, down.weight!, down.bias, nTokens, w.scratch);
  }

  /** out[t] += what every token uses. Outputs of visits come later: their buffer is free. */
  addResident(out: Ptr, x: Ptr, nTokens: number): void {
    const { kernels, workspace: w, dModel, weights } = this.#parts;
    const { resident, outputGate } = weights;
    if (!resident) return;
    const rowBytes = vectorBytes(dModel);
    this.#multiply(w.visitOutput, x, resident, nTokens);
    if (!outputGate) {
      kernels.add(out, w.visitOutput, (nTokens * rowBytes) / 4);
      return;
    }
    kernels.linear(w.routerLogits, x, outputGate, 0, nTokens, w.scratch);
    for (let t = 0; t < nTokens; t++) {
      const [logit] = kernels.arena.f32(w.routerLogits + t * vectorBytes(1), 1);
      const share = Math.fround(1 / (1 + Math.exp(-logit!)));
      kernels.addScaled(out + t * rowBytes, w.visitOutput + t * rowBytes, rowBytes / 4, share);
    }
  }

  /** out[t] += Σ weight · output, in ascending order of experts. */
  sum(out: Ptr, visits: StepVisits): void {
    const { kernels, workspace: w, dModel } = this.#parts;
    for (const { rows, weights, firstOutput } of visits.values()) {
      kernels.arena.u32(w.visitRows, rows.length).set(rows);
      kernels.arena.f32(w.visitWeights, rows.length).set(weights);
      const outputs = w.visitOutput + firstOutput * vectorBytes(dModel);
      kernels.addRowsScaled(out, outputs, w.visitRows, w.visitWeights, rows.length, dModel);
    }
  }
}
