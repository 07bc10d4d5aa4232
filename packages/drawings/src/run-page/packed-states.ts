/** States of neurons as text: four in a byte, the first in its lowest bits, and bytes in base64. A state is one of `STATE`, 0 to 3. */

const IN_A_BYTE = 4;
/** Arguments of one call. */
const CHUNK = 8192;

/**
 * States of units as compact text, for a page.
 *
 * @param states Values 0 to 3. Cost: a third of a character each.
 */
export function packStates(states: Uint8Array): string {
  const packed = new Uint8Array(packedBytes(states.length));
  for (let i = 0; i < states.length; i++) packed[i >> 2]! |= states[i]! << (2 * (i & 3));
  let text = "";
  for (let at = 0; at < packed.length; at += CHUNK) text += String.fromCharCode(...packed.subarray(at, at + CHUNK));
  return btoa(text);
}

/** @param count How many there were. */
export function unpackStates(text: string, count: number): Uint8Array {
  const packed = atob(text);
  return Uint8Array.from({ length: count }, (_, i) => (packed.charCodeAt(i >> 2) >> (2 * (i & 3))) & 3);
}

/** Bytes of so many states, before they become text. */
export function packedBytes(count: number): number {
  return Math.ceil(count / IN_A_BYTE);
}
