/**
 * Several tokens are computed over the union of their sets; what a token has not chosen becomes zero, and a zero adds nothing: it changes no
 * bit, so each token gets exactly what it gets alone.
 */

/**
 * Sets activations of neurons that a token has not chosen to zero, in place.
 *
 * @param act       f32 `[nTokens, rowLength]`, of which the first `neurons.length` of each row are used.
 * @param neurons   Which neuron each column is of, ascending.
 * @param sets      Chosen neurons of each token, ascending.
 * Cost: O(nTokens · neurons.length).
 */
export function maskNonMembers(
  act: Float32Array,
  rowLength: number,
  neurons: Uint32Array,
  sets: readonly Uint32Array[],
): void {
  const n = neurons.length;
  for (const [t, set] of sets.entries()) {
    const row = t * rowLength;
    let next = firstAtLeast(set, neurons[0] ?? 0);
    for (let i = 0; i < n; i++) {
      if (set[next] === neurons[i]) next++;
      else act[row + i] = 0;
    }
  }
}

/** Index of the first member that is at least `neuron`; `set.length` if there is none. */
function firstAtLeast(set: Uint32Array, neuron: number): number {
  let low = 0;
  let high = set.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (set[middle]! < neuron) low = middle + 1;
    else high = middle;
  }
  return low;
}
