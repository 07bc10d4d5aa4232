/** The DRAM budget where nobody gives one: what the machine, or its control group, has to spare. */

/** Left to Node, the program, its threads, and whoever else is on the machine. */
export const RESERVE_BYTES = 512 * 2 ** 20;

/**
 * What is free, less {@link RESERVE_BYTES}: the operating system's own figure of what can be had without swapping, or what the process's
 * control group may still take if that is less.
 *
 * @param availableBytes For tests.
 * @returns At least 1, so that a machine with nothing to spare is told the smallest budget that would do.
 */
export function spareMemoryBytes(availableBytes = process.availableMemory()): number {
  return Math.max(1, availableBytes - RESERVE_BYTES);
}
