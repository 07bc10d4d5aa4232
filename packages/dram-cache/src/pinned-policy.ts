/** Policies that keep some neurons whatever the window says: the use of ReLU neurons is skewed, so a few are worth a slot always. */
import { type CachePolicy, checkWindowTokens, type WindowTokens } from "./cache-policy.js";

/**
 * Neurons that never leave, and a window for the others.
 *
 * Pinned neurons enter when they are first named. They stay even where a token names more than the other slots hold: it then passes in
 * shorter waves. Only where they would take more than three quarters of the slots do some of them give way.
 *
 * @param pinned       Neurons, in any order; see {@link mostFrequent}.
 * @param windowTokens For the others, as in `windowPolicy`.
 * @throws {InputError} `INPUT_INVALID`, see `checkWindowTokens`.
 */
export function pinnedPolicy(pinned: Iterable<number>, windowTokens: WindowTokens): CachePolicy {
  const members = [...pinned];
  const isMember = new Uint8Array(members.reduce((most, neuron) => Math.max(most, neuron), -1) + 1);
  for (const neuron of members) isMember[neuron] = 1;
  return {
    name: "pinned",
    windowTokens: checkWindowTokens(windowTokens),
    isPinned: (neuron) => isMember[neuron] === 1,
    order: null,
  };
}

/** Tokens before a frequency means anything. */
const MIN_OBSERVED_TOKENS = 8;

/**
 * Pins by use, counted on the way: neurons that more than `share` of the tokens so far named, and a window for the others.
 * Its counts belong to one cache, so each needs a policy of its own.
 *
 * @param dFf     Neurons of the cache; four bytes of counts each.
 * @param share   In (0, 1).
 * @param nLayers Of a pool: how many sets a token has.
 * @throws {InputError} `INPUT_INVALID`, see `checkWindowTokens`.
 */
export function frequencyPinnedPolicy(
  dFf: number,
  share: number,
  windowTokens: WindowTokens,
  nLayers = 1,
): CachePolicy {
  const uses = new Uint32Array(dFf);
  let sets = 0;
  return {
    name: "pinned",
    windowTokens: checkWindowTokens(windowTokens),
    isPinned: (neuron) => sets >= MIN_OBSERVED_TOKENS * nLayers && uses[neuron]! * nLayers > share * sets,
    order: null,
    observe(named) {
      sets++;
      for (let i = 0; i < named.length; i++) uses[named[i]!]!++;
    },
    unobserve(named) {
      sets--;
      for (let i = 0; i < named.length; i++) uses[named[i]!]!--;
    },
  };
}

/**
 * What to pin: the `count` most frequent neurons, the lower neuron among equals. Those never used are not pinned.
 *
 * @param frequencies Uses (or any score) of each neuron, `[dFf]`.
 */
export function mostFrequent(frequencies: ArrayLike<number>, count: number): number[] {
  return Array.from(frequencies, (_, neuron) => neuron)
    .filter((neuron) => frequencies[neuron]! > 0)
    .sort((a, b) => frequencies[b]! - frequencies[a]! || a - b)
    .slice(0, count);
}
