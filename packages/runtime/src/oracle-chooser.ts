/** The chooser that cannot err, for study: it computes every activation first, and names those that are not zero. */
import { activationOf } from "@flashwick/core";
import type { Chooser, ChooserLayer } from "./chooser.js";
import { trulyActive } from "./layer-studies.js";
import type { TokenMeter } from "./token-meter.js";

export class OracleChooser implements Chooser {
  /** A zero adds nothing. */
  readonly exact = true;

  choose(
    { geometry, slots, context }: ChooserLayer,
    nTokens: number,
    meter: TokenMeter,
    signal?: AbortSignal,
  ): Promise<Uint32Array[]> {
    const { stage, workspace } = context;
    return trulyActive(slots, activationOf(geometry.ffn), workspace.ffnInput, nTokens, stage, meter, signal);
  }
}
