/** Moments of a text that a conversion makes up for losses by, held against what is converted. */
import { hasExperts, InputError, type ModelGeometry, UnsupportedError } from "@flashwick/core";
import type { CalibrationSpec, ModelSpec } from "../model-writer.js";
import type { MomentsSource } from "../moments-file.js";

/** A file of moments that is open. */
export interface Calibration {
  readonly moments: MomentsSource;
  /** SHA-256, hex, of the file. */
  readonly hash: string;
}

/** What the file will say of it. */
export function calibrationSpec({ moments, hash }: Calibration): CalibrationSpec {
  return { moments: hash, momentsOf: moments.modelFingerprint };
}

/**
 * @param geometry The checkpoint's, with all neurons.
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a mixture of experts. {InputError} `INPUT_INVALID` for moments of
 * another shape, and where nothing is lost that could be made up for.
 */
export function checkCalibrates(
  { moments: { dModel, dFf } }: Calibration,
  geometry: ModelGeometry,
  { dtype, pruned }: Pick<ModelSpec, "dtype" | "pruned">,
): void {
  if (hasExperts(geometry)) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      "a mixture of experts, whose records are whole experts, has no single neurons to calibrate; convert without --calibration",
    );
  }
  const widths = geometry.layers.map(({ ffn }) => ffn.dFf);
  if (dModel !== geometry.dModel || widths.join() !== dFf.join()) {
    const [expected, found] = [shapeOf(geometry.dModel, widths), shapeOf(dModel, dFf)];
    throw new InputError(
      "INPUT_INVALID",
      `moments of ${found}, expected the checkpoint's ${expected}; record them of this model`,
      {
        details: { expected, found },
      },
    );
  }
  if (dtype === "q4" || pruned) return;
  throw new InputError(
    "INPUT_INVALID",
    `records of ${dtype} with all neurons lose nothing that a calibration makes up for; give --dtype q4 or --prune, or no --calibration`,
  );
}

function shapeOf(dModel: number, dFf: readonly number[]): string {
  return `${dFf.length} layers of ${[...new Set(dFf)].join(", ")} neurons of ${dModel} weights`;
}
