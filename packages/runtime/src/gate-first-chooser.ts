/**
 * The chooser that asks the gate itself: where it is resident, it says without a guess which neurons add something (docs/decisions/0039). Of dReLU some
 * that it names add nothing all the same, for their up projection's sake.
 */
import { assert } from "@flashwick/core";
import type { Chooser, ChooserLayer } from "./chooser.js";

export class GateFirstChooser implements Chooser {
  /** What is not named has a zero for its gate, and a zero adds nothing. */
  readonly exact = true;

  async choose(layer: ChooserLayer, nTokens: number): Promise<readonly Uint32Array[]> {
    return await this.chooseForLast(layer, nTokens, nTokens);
  }

  /** The gate was computed for the whole step already. Cost: dFf comparisons a token. */
  async chooseForLast(
    { context, slots, geometry }: ChooserLayer,
    nTokens: number,
    count: number,
  ): Promise<readonly Uint32Array[]> {
    const { kernels, workspace } = context;
    const { gate, dFf } = slots.parts;
    assert(gate, "gate-first mode is of files with resident gates");
    // 0 but of fatrelu, which is compared as f32.
    const threshold = Math.fround(geometry.ffn.threshold);
    const sets: Uint32Array[] = [];
    for (let t = Math.max(0, nTokens - count); t < nTokens; t++) {
      const sums = workspace.gate + 4 * t * gate.rowLength;
      const named = await kernels.selectAbove(workspace.named, sums, dFf, threshold);
      sets.push(kernels.arena.u32(workspace.named, named).slice());
    }
    return sets;
  }
}
