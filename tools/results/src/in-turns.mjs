/** Comparing runs that a shared machine disturbs: in turns, so that a slow minute hits all of them, and by the median. */

/**
 * @template T
 * @param {readonly (() => T | Promise<T>)[]} runs  What is compared.
 * @param {number} rounds  How often each is run.
 * @returns {Promise<T[][]>}  Results of each run, by round. Every other round goes backwards.
 */
export async function inTurns(runs, rounds) {
  const results = runs.map(() => []);
  for (let round = 0; round < rounds; round++) {
    const order = [...runs.keys()];
    if (round % 2 === 1) order.reverse();
    for (const index of order) results[index][round] = await runs[index]();
  }
  return results;
}

/** @param {readonly number[]} values @returns {number} */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Of at least one value, the least that a share of all, above 0, is at most as large as. @param {readonly number[]} values @param {number} share */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

/** The ratio of each round, and with it its spread. @param {readonly number[]} a @param {readonly number[]} b */
export function ratios(a, b) {
  const each = a.map((value, round) => value / b[round]);
  return { median: median(each), least: Math.min(...each), most: Math.max(...each) };
}
