/** Which neurons a pruned model keeps, by what each added to a calibration text. Pure. */
import { InputError, type ModelGeometry } from "@flashwick/core";
import type { NeuronTrace } from "@flashwick/dram-cache/simulate";

/**
 * Chooses the neurons that stay: the share with the least importance goes, whichever layers it is in, so layers come to
 * differ in width. Of equally important ones those of higher layers go first, and in a layer those of higher numbers.
 *
 * @param share Of all neurons, that is to be left out: in (0, 1). Rounded down to whole neurons.
 * @param name Of the trace, for messages.
 * @returns By layer, ascending.
 * @throws {InputError} `INPUT_INVALID` for a share out of range, a trace of another shape or without importances, and
 * naming the layer that would have no neuron left. Cost: a sort of all neurons.
 */
export function choosePruning(
  { layers }: Pick<ModelGeometry, "layers">,
  trace: NeuronTrace,
  share: number,
  name = "trace",
): Uint32Array[] {
  if (!(share > 0 && share < 1))
    throw refusal(`a share of ${share} to leave out, expected more than 0 and less than 1`);
  const importance = importanceOf(layers, trace, name);
  const all = layers.flatMap(({ ffn }, layer) => Array.from({ length: ffn.dFf }, (_, neuron) => ({ layer, neuron })));
  const weightOf = ({ layer, neuron }: Place) => importance[layer]![neuron]!;
  const ranked = all.sort((a, b) => weightOf(a) - weightOf(b) || b.layer - a.layer || b.neuron - a.neuron);
  const kept = layers.map((): number[] => []);
  for (const { layer, neuron } of ranked.slice(Math.floor(share * all.length))) kept[layer]!.push(neuron);
  const empty = kept.findIndex(({ length }) => length === 0);
  if (empty >= 0) {
    throw refusal(
      `layer ${empty} would have no neuron left, expected at least one; leave out less than ${share} of the neurons`,
    );
  }
  return kept.map((neurons) => Uint32Array.from(neurons).sort());
}

interface Place {
  readonly layer: number;
  readonly neuron: number;
}

function importanceOf(
  layers: ModelGeometry["layers"],
  { nLayers, dFf, origin }: NeuronTrace,
  name: string,
): readonly Float32Array[] {
  const widest = Math.max(...layers.map(({ ffn }) => ffn.dFf));
  if (nLayers !== layers.length || dFf !== widest) {
    throw refusal(
      `${name}: ${nLayers} layers of ${dFf} neurons, expected the checkpoint's ${layers.length} of ${widest}`,
    );
  }
  if (origin) return origin.importance;
  throw refusal(
    `${name}: it does not say what its neurons add to the text; record it again, of a model file with records of neurons`,
  );
}

function refusal(message: string): InputError {
  return new InputError("INPUT_INVALID", message);
}

/**
 * The trace of a pruned model: sets without the neurons that were left out, the others by their new numbers.
 *
 * @param kept By layer, in the order of their records.
 */
export function prunedTrace({ nLayers, dFf, tokens }: NeuronTrace, kept: readonly Uint32Array[]): NeuronTrace {
  const numbers = kept.map((neurons) => {
    const number = new Int32Array(dFf).fill(-1);
    for (const [at, neuron] of neurons.entries()) number[neuron] = at;
    return number;
  });
  const pruned = (set: Uint32Array, layer: number) =>
    Uint32Array.from([...set].map((neuron) => numbers[layer]![neuron]!).filter((at) => at >= 0)).sort();
  const widest = Math.max(...kept.map(({ length }) => length));
  return { nLayers, dFf: widest, tokens: tokens.map((sets) => sets.map(pruned)) };
}
