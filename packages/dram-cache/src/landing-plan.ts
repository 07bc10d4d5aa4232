/**
 * Which slot each missing neuron lands in. Any choice is correct; this one lets missing neurons that are neighbours on flash land in
 * neighbouring slots where it can, so that one read needs few pieces, and keeps the order of the others, so that a kernel that
 * goes through neurons in order tends to go through memory in order.
 *
 * It is greedy, one pass over misses and vacant slots, and not the best matching of runs to stretches.
 */

/** Where a vacant slot stood that has been given away. */
const TAKEN = 0xffffffff;

/**
 * @param neurons Neurons of a wave, ascending.
 * @param misses  Indices into `neurons` of those that need a slot, ascending.
 * @param vacant  Vacant slots, ascending, at least as many as misses. Overwritten: those that stay vacant come first, ascending.
 * @param slots   `slots[i]` is set for each i in `misses`.
 * Cost: O(misses + vacant), allocates nothing.
 */
export function planLanding(neurons: Uint32Array, misses: Uint32Array, vacant: Uint32Array, slots: Uint32Array): void {
  const needed = misses.length;
  if (needed === 0) return;
  for (const miss of misses) slots[miss] = TAKEN;
  // Where the first vacant slots are one stretch, ascending order keeps all neighbours together.
  if (vacant[needed - 1]! - vacant[0]! !== needed - 1) landNeighbours(neurons, misses, vacant, slots);
  let v = 0;
  for (let m = 0; m < needed; m++) {
    if (slots[misses[m]!] !== TAKEN) continue;
    while (vacant[v] === TAKEN) v++;
    slots[misses[m]!] = vacant[v]!;
    vacant[v] = TAKEN;
  }
  let rest = 0;
  for (let i = 0; i < vacant.length; i++) if (vacant[i] !== TAKEN) vacant[rest++] = vacant[i]!;
}

/** Gives runs of neighbours the next stretches of vacant slots, in parts of at least two. */
function landNeighbours(neurons: Uint32Array, misses: Uint32Array, vacant: Uint32Array, slots: Uint32Array): void {
  let v = 0;
  for (let m = 0; m < misses.length && v < vacant.length; ) {
    let run = 1;
    while (m + run < misses.length && neurons[misses[m + run]!] === neurons[misses[m]!]! + run) run++;
    for (let done = 0; run - done >= 2 && v < vacant.length; ) {
      let part = 1;
      while (part < run - done && vacant[v + part] === vacant[v]! + part) part++;
      for (let i = 0; part >= 2 && i < part; i++) {
        slots[misses[m + done + i]!] = vacant[v + i]!;
        vacant[v + i] = TAKEN;
      }
      if (part >= 2) done += part;
      v += part;
    }
    m += run;
  }
}
