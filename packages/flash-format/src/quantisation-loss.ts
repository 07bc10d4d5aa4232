/** What storing weights as small integers has cost, by what they are part of. */
import type { RecordRole } from "@flashwick/core";

/** Parts of records, and all resident matrices together. */
export type LossRole = RecordRole | "resident";

/** Relative RMS error, √(Σ (x − stored x)² / Σ x²), of what is stored as integers with scales. Roles that are stored as floats are absent. */
export type QuantisationLoss = Readonly<Partial<Record<LossRole, number>>>;

/** Sums of squares by role. */
export type SquareSums = Readonly<Partial<Record<LossRole, readonly [error: number, whole: number]>>>;

export class LossTally {
  readonly #sums = new Map<LossRole, readonly [number, number]>();

  add(role: LossRole, error: number, whole: number): void {
    const [errors, wholes] = this.#sums.get(role) ?? [0, 0];
    this.#sums.set(role, [errors + error, wholes + whole]);
  }

  addAll(sums: SquareSums): void {
    for (const [role, [error, whole]] of Object.entries(sums)) this.add(role as LossRole, error, whole);
  }

  get sums(): SquareSums {
    return Object.fromEntries(this.#sums);
  }

  /** Null if nothing was quantised. */
  get loss(): QuantisationLoss | null {
    if (this.#sums.size === 0) return null;
    const relative = ([error, whole]: readonly [number, number]) => (whole === 0 ? 0 : Math.sqrt(error / whole));
    return Object.fromEntries(Array.from(this.#sums, ([role, sums]) => [role, relative(sums)]));
  }
}
