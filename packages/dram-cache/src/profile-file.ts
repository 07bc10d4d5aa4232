/** The profile's file, version 1 (SPEC.md): JSON, since it is small and people look into it. */
import { FormatError, IntegrityError, showValue } from "@flashwick/core";
import type { UnitProfile } from "./unit-profile.js";

/** The model that a profile must be of. */
export type ProfiledModel = Pick<UnitProfile, "fingerprint" | "nUnits"> & { readonly nLayers: number };

const FORMAT = "flashwick.profile";
const VERSION = 1;

/** The text of the file. */
export function encodeProfile({ fingerprint, nUnits, hottest }: UnitProfile): string {
  const layers = hottest.map((units) => `    [${units.join(", ")}]`).join(",\n");
  const head = `  "format": ${JSON.stringify(FORMAT)},\n  "version": ${VERSION},\n  "fingerprint": ${JSON.stringify(fingerprint)},\n`;
  return `{\n${head}  "nUnits": ${nUnits},\n  "hottest": [\n${layers}\n  ]\n}\n`;
}

/**
 * @param model The model that it is to be used with. @param name For messages: a path, a URL.
 * @throws {FormatError} `FORMAT_INVALID`, `FORMAT_VERSION` for what is no profile. {IntegrityError}
 *   `INTEGRITY_FINGERPRINT` for another model's.
 */
export function decodeProfile(text: string, model: ProfiledModel, name = "profile"): UnitProfile {
  const { format, version, fingerprint, nUnits, hottest } = parseObject(text, name);
  if (format !== FORMAT) throw invalid(name, "format", showValue(format), `"${FORMAT}"`);
  if (version !== VERSION) {
    const message = `${name}: profile version ${showValue(version)}, expected ${VERSION}; record it again`;
    throw new FormatError("FORMAT_VERSION", message);
  }
  if (typeof fingerprint !== "string") throw invalid(name, "fingerprint", typeof fingerprint, "a string");
  if (fingerprint !== model.fingerprint) throw ofAnotherModel(name, fingerprint, model.fingerprint);
  if (nUnits !== model.nUnits) throw invalid(name, "nUnits", showValue(nUnits), `the model's ${model.nUnits}`);
  if (!Array.isArray(hottest) || hottest.length !== model.nLayers) {
    const found = Array.isArray(hottest) ? `${hottest.length} lists` : typeof hottest;
    throw invalid(name, "hottest", found, `a list for each of the model's ${model.nLayers} layers`);
  }
  return { fingerprint, nUnits, hottest: hottest.map((units, layer) => layerOf(units, layer, model.nUnits, name)) };
}

function parseObject(text: string, name: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const message = `${name}: no JSON (${(cause as Error).message}), expected a profile; record it again`;
    throw new FormatError("FORMAT_INVALID", message, { cause });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  const found = value === null ? "null" : Array.isArray(value) ? "a list" : typeof value;
  throw invalid(name, "the document", found, "an object");
}

function layerOf(units: unknown, layer: number, nUnits: number, name: string): Uint32Array {
  const where = `hottest[${layer}]`;
  if (!Array.isArray(units)) throw invalid(name, where, typeof units, "a list of units");
  const seen = new Set<unknown>();
  for (const [i, unit] of units.entries()) {
    const isUnit = Number.isSafeInteger(unit) && unit >= 0 && unit < nUnits && !seen.has(unit);
    if (!isUnit) throw invalid(name, `${where}[${i}]`, showValue(unit), `distinct units below ${nUnits}`);
    seen.add(unit);
  }
  return Uint32Array.from(units as number[]);
}

function invalid(name: string, where: string, found: string, expected: string): FormatError {
  const message = `${name}: ${where} is ${found}, expected ${expected}; record the profile again`;
  return new FormatError("FORMAT_INVALID", message, { details: { where } });
}

function ofAnotherModel(name: string, found: string, expected: string): IntegrityError {
  return new IntegrityError(
    "INTEGRITY_FINGERPRINT",
    `${name}: the profile is of model ${found.slice(0, 12)}…, expected ${expected.slice(0, 12)}…; its units are different; record the profile again`,
    { details: { found, expected } },
  );
}
