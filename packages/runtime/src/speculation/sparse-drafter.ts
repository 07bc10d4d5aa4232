/**
 * The sparse path as its own dense model's drafter: it reads a fraction of the weights, and nearly always says the same.
 *
 * Its keys and values go where those of the verifying pass will go, and are overwritten by them.
 */

import type { TokenStats } from "@flashwick/core";
import type { Chooser } from "../chooser.js";
import type { Draft, DraftContext, Drafter } from "./drafter.js";

export class SparseDrafter implements Drafter {
  readonly name = "sparse";
  readonly #chooser: Chooser;

  /** @param chooser Names the neurons of the drafts. */
  constructor(chooser: Chooser) {
    this.#chooser = chooser;
  }

  async propose({ sequence, pending, sampler, index, observer, signal }: DraftContext, most: number): Promise<Draft> {
    const before = sequence.length;
    const tokens: number[] = [];
    const costs: TokenStats[] = [];
    try {
      let last = pending;
      while (tokens.length < most) {
        costs.push(
          ...(await sequence.extend([last], {
            chooser: this.#chooser,
            logits: "last",
            onLogits: (_, logits) => {
              last = sampler(logits, index + tokens.length);
            },
            observer,
            signal,
          })),
        );
        tokens.push(last);
      }
    } finally {
      sequence.rollback(before);
    }
    return { tokens, costs };
  }

  async close(): Promise<void> {}
}
