import { InputError } from "@flashwick/core";

/** Which model a trace is of, and what its neurons have added to the text's tokens. */
export interface TraceOrigin {
  /** The model's fingerprint: 64 hex digits. */
  readonly fingerprint: string;
  /** Whether a predictor named the sets; false: they are the truly active neurons. */
  readonly named: boolean;
  /** By layer, f32 `[dFf]`: Σ over tokens of activation² · ‖down column‖², finite and at least 0, named or not. */
  readonly importance: readonly Float32Array[];
}

/** A recorded use of neurons: which set each token named in each layer. Its file form is in trace-file.ts. */
export interface NeuronTrace {
  readonly nLayers: number;
  readonly dFf: number;
  /** `tokens[t][layer]`: ascending, distinct neurons, each < `dFf`. */
  readonly tokens: readonly (readonly Uint32Array[])[];
  /** Absent where it is not known: in traces of experts, and in those that were made up. */
  readonly origin?: TraceOrigin;
}

/** @throws {InputError} `INPUT_INVALID` naming the token and layer that are not as the type says. Cost: O(named). */
export function checkTrace({ nLayers, dFf, tokens }: NeuronTrace): void {
  const refuse = (where: string, found: string, expected: string): never => {
    throw new InputError("INPUT_INVALID", `neuron trace, ${where}: found ${found}, expected ${expected}`);
  };
  if (!(Number.isSafeInteger(nLayers) && nLayers >= 1)) refuse("nLayers", `${nLayers}`, "an integer of at least 1");
  if (!(Number.isSafeInteger(dFf) && dFf >= 1)) refuse("dFf", `${dFf}`, "an integer of at least 1");
  for (const [t, layers] of tokens.entries()) {
    if (layers.length !== nLayers) refuse(`token ${t}`, `${layers.length} sets`, `one for each of ${nLayers} layers`);
    for (const [layer, set] of layers.entries()) {
      for (let i = 0, least = 0; i < set.length; least = set[i++]! + 1) {
        if (set[i]! >= least && set[i]! < dFf) continue;
        refuse(`token ${t}, layer ${layer}`, `neuron ${set[i]}`, `ascending, distinct neurons below ${dFf}`);
      }
    }
  }
}
