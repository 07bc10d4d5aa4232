/** What a model file says of the moments by which its losses were made up for. SPEC.md, "Calibration". */
import { IntegrityError } from "@flashwick/core";
import { isFingerprint } from "./fingerprint.js";
import type { GgufValue } from "./gguf.js";
import type { GgufMetadata } from "./gguf-metadata.js";
import type { CalibrationSpec } from "./model-writer.js";

const KEY_MOMENTS = "flashwick.calibration.moments";

/** Metadata of a file. */
export function encodeCalibration(calibration: CalibrationSpec | null): [string, GgufValue][] {
  return calibration ? [[KEY_MOMENTS, { type: "string", value: calibration.moments }]] : [];
}

/**
 * @param from Fingerprint of the checkpoint, with all its neurons in its own order.
 * @throws {IntegrityError} `INTEGRITY_FINGERPRINT` where the moments are another model's.
 */
export function checkCalibration({ momentsOf }: CalibrationSpec, from: string): void {
  if (momentsOf === from) return;
  throw new IntegrityError(
    "INTEGRITY_FINGERPRINT",
    `the moments to calibrate by are of the model ${momentsOf.slice(0, 12)}…, but this checkpoint is ${from.slice(0, 12)}…; ` +
      "convert the checkpoint without --calibration, --prune and --placement, and record moments of that file",
    { details: { expected: from, found: momentsOf } },
  );
}

/** SHA-256 of the moments; null where there were none. @throws {FormatError} `FORMAT_INVALID`. */
export function decodeCalibration(metadata: GgufMetadata): string | null {
  const hash = metadata.optionalString(KEY_MOMENTS);
  if (hash === null || isFingerprint(hash)) return hash;
  throw metadata.invalid(KEY_MOMENTS, "64 hex digits", JSON.stringify(hash.slice(0, 80)));
}
