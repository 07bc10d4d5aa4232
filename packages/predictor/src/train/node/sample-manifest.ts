/** `samples.json`: what a file sample store holds, checked before a byte of it is believed. */
import { FormatError, showValue } from "@flashwick/core";
import type { LayerSampleCounts, SampleShape } from "../sample-store.js";

export const MANIFEST_VERSION = 1;
const MAX_LAYERS = 4096;
const MAX_WIDTH = 2 ** 20;
/** Beyond any recording; keeps every product of counts and widths a safe integer. */
const MAX_TOKENS = 2 ** 32;

export interface SampleManifest {
  readonly version: number;
  readonly shape: SampleShape;
  readonly identity: string;
  readonly nextDocument: number;
  readonly layers: readonly LayerSampleCounts[];
}

/** @throws {FormatError} `FORMAT_INVALID` naming the field, `FORMAT_VERSION`. */
export function decodeManifest(text: string, path: string): SampleManifest {
  const manifest = new Fields(parseJson(text, path), path);
  const version = manifest.integer("version", 0, Number.MAX_SAFE_INTEGER);
  if (version !== MANIFEST_VERSION) {
    throw new FormatError(
      "FORMAT_VERSION",
      `${path}: samples of version ${version}, expected ${MANIFEST_VERSION}; record them again`,
      { details: { version, expected: MANIFEST_VERSION } },
    );
  }
  const widths = manifest.child("shape");
  const shape: SampleShape = {
    nLayers: widths.integer("nLayers", 1, MAX_LAYERS),
    dModel: widths.integer("dModel", 1, MAX_WIDTH),
    dFf: widths.integer("dFf", 1, MAX_WIDTH),
  };
  const layers = Array.from({ length: shape.nLayers }, (_, layer) => {
    const counts = manifest.child("layers").child(String(layer));
    const trainTokens = counts.integer("trainTokens", 0, MAX_TOKENS);
    const heldOutTokens = counts.integer("heldOutTokens", 0, MAX_TOKENS);
    return {
      trainTokens,
      heldOutTokens,
      trainActive: counts.integer("trainActive", 0, trainTokens * shape.dFf),
      heldOutActive: counts.integer("heldOutActive", 0, heldOutTokens * shape.dFf),
    };
  });
  const nextDocument = manifest.integer("nextDocument", 0, Number.MAX_SAFE_INTEGER);
  return { version, shape, identity: manifest.text("identity"), nextDocument, layers };
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FormatError("FORMAT_INVALID", `${path}: expected JSON; record the samples again`, { cause });
  }
}

class Fields {
  readonly #fields: Record<string, unknown>;

  constructor(
    value: unknown,
    private readonly path: string,
    private readonly where = "",
  ) {
    if (typeof value !== "object" || value === null) throw this.#invalid("", "an object", value);
    this.#fields = value as Record<string, unknown>;
  }

  child(name: string): Fields {
    return new Fields(this.#fields[name], this.path, `${this.where}${name}.`);
  }

  integer(name: string, least: number, most: number): number {
    const value = this.#fields[name];
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= least && value <= most) return value;
    throw this.#invalid(name, `an integer from ${least} to ${most}`, value);
  }

  text(name: string): string {
    const value = this.#fields[name];
    if (typeof value === "string") return value;
    throw this.#invalid(name, "a text", value);
  }

  #invalid(name: string, expected: string, found: unknown): FormatError {
    const field = `${this.where}${name}`;
    return new FormatError(
      "FORMAT_INVALID",
      `${this.path}: ${field || "samples"} is ${showValue(found)}, expected ${expected}; record the samples again`,
      { details: { field } },
    );
  }
}
