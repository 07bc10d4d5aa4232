/** Looking into a forward pass. */
import type { Kernels, Ptr } from "@flashwick/kernels";
import type { ChosenRoute } from "./expert-choice.js";
import type { TokenSpan } from "./token-meter.js";

/** What is asked of an engine while it computes. */
export interface ResidentUnits {
  /** Neurons, or experts, that a layer's slots hold at present, in no order. */
  residentNeurons(layer: number): Uint32Array;
}

/** Everything is optional. Pointers are into `kernels.arena` and valid during the call only. */
export interface ForwardObserver {
  /** A step of so many tokens begins; what is seen until the next one belongs to it. */
  stepBegins?(rows: number): void;
  /** FFN input of every token: f32 `[nTokens, pad(dModel)]`. May be waited for. */
  ffnInput?(layer: number, x: Ptr, nTokens: number, kernels: Kernels): void | Promise<void>;
  /**
   * Activations of neurons `first` … `first + count − 1`: f32 `[nTokens, pad(count)]`, before tokens are held to their own sets. Whoever asks for
   * them has every layer streamed: all neurons are computed, whatever is chosen.
   *
   * @param sets What each token uses; null: all.
   */
  activations?(
    layer: number,
    first: number,
    count: number,
    act: Ptr,
    nTokens: number,
    kernels: Kernels,
    sets: readonly Uint32Array[] | null,
  ): void;
  /** The set that the FFN uses for one token of a step, before the cache makes room for it; not called where all neurons are used. */
  named?(layer: number, named: Uint32Array, engine: ResidentUnits, row: number): void;
  /** Of a mixture: the experts of one token of a step, and those that the model's router chooses for it. */
  routed?(layer: number, route: ChosenRoute, row: number): void;
  /** Each phase and each batch of reads as it ends, on the clock of its step. */
  span?(span: TokenSpan): void;
}
