/** Choosing units by score: the largest, or those above a threshold. */

/**
 * The `count` units of the largest scores, ascending; among equals the lower unit.
 *
 * @param scores None is NaN.
 * Cost: O(units) on average.
 */
export function topUnits(scores: Float32Array, count: number): Uint32Array {
  const n = scores.length;
  if (count >= n) return Uint32Array.from({ length: n }, (_, i) => i);
  const chosen = new Uint32Array(Math.max(0, count));
  if (count <= 0) return chosen;
  const least = nthLargest(scores.slice(), count - 1);
  let above = 0;
  for (let i = 0; i < n; i++) if (scores[i]! > least) above++;
  let equals = count - above;
  for (let i = 0, at = 0; at < count; i++) {
    if (scores[i]! > least || (scores[i] === least && equals-- > 0)) chosen[at++] = i;
  }
  return chosen;
}

/** The units whose score exceeds `threshold`, ascending. */
export function unitsAbove(scores: Float32Array, threshold: number): Uint32Array {
  const chosen: number[] = [];
  for (let i = 0; i < scores.length; i++) if (scores[i]! > threshold) chosen.push(i);
  return Uint32Array.from(chosen);
}

/** Hoare's selection: the value that would stand at `index` in descending order. Reorders `values`. */
function nthLargest(values: Float32Array, index: number): number {
  let [low, high] = [0, values.length - 1];
  while (low < high) {
    const pivot = values[(low + high) >>> 1]!;
    let [i, j] = [low, high];
    while (i <= j) {
      while (values[i]! > pivot) i++;
      while (values[j]! < pivot) j--;
      if (i > j) break;
      [values[i], values[j]] = [values[j]!, values[i]!];
      i++;
      j--;
    }
    if (index <= j) high = j;
    else if (index >= i) low = i;
    else return values[index]!;
  }
  return values[index]!;
}
