/** What can go wrong at one operation of a device: the n-th, whatever that is. The same numbers give the same fault again. */

/**
 * In the words of a disk: it answers late, with a part, not at all, or with a wrong bit; out of order; and the file becomes shorter, longer, another
 * one or none.
 */
export const FAULT_KINDS = [
  "delay",
  "short",
  "device-error",
  "wrong-bit",
  "reorder",
  "shrink",
  "grow",
  "replace",
  "delete",
] as const;

/** One of {@link FAULT_KINDS}. */
export type FaultKind = (typeof FAULT_KINDS)[number];

/** A fault, and when it comes. */
export interface Fault {
  readonly kind: FaultKind;
  /** The operation that it strikes, from 1 on, counted from when it was armed. */
  readonly at: number;
  /** Chooses the bit, the length, the time. */
  readonly seed: number;
}

/** Whether the file is another one afterwards: no reader that is open gets over it. */
export function changesFile(kind: FaultKind): boolean {
  return kind === "shrink" || kind === "grow" || kind === "replace" || kind === "delete";
}

/** Counts operations, and says which one goes wrong. */
export class FaultCounter {
  /** Since a fault was last armed, or none. */
  operations = 0;
  #fault: Fault | null = null;

  /**
   * Counts from zero again, towards a fault.
   *
   * @param fault Null: nothing goes wrong, and operations are counted.
   */
  arm(fault: Fault | null): void {
    this.#fault = fault;
    this.operations = 0;
  }

  /** An operation begins. @returns The fault that strikes it; null: none. */
  next(): Fault | null {
    this.operations++;
    return this.#fault?.at === this.operations ? this.#fault : null;
  }
}
