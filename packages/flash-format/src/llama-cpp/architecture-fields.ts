/** The keys of one architecture of llama.cpp's: `<architecture>.<field>`. */
import type { NormGeometry } from "@flashwick/core";
import type { GgufMetadata } from "../gguf-metadata.js";
import { FORMS, type LlamaCppArchitecture, type LlamaCppForm } from "./forms.js";

export class ArchitectureFields {
  readonly form: LlamaCppForm;

  constructor(
    readonly metadata: GgufMetadata,
    readonly architecture: LlamaCppArchitecture,
  ) {
    this.form = FORMS[architecture];
  }

  integer(field: string, most: number): number {
    return this.metadata.integer(this.#key(field), 1, most);
  }

  optionalInteger(field: string, most: number): number | null {
    return this.metadata.optionalInteger(this.#key(field), 0, most);
  }

  optionalNumber(field: string): number | null {
    const key = this.#key(field);
    if (!this.metadata.has(key)) return null;
    const value = this.metadata.f32(key);
    if (value > 0 && value < Number.POSITIVE_INFINITY) return value;
    throw this.metadata.invalid(key, "a positive number", `${value}`);
  }

  optionalBool(field: string): boolean | null {
    return this.metadata.optionalBool(this.#key(field));
  }

  optionalString(field: string): string | null {
    return this.metadata.optionalString(this.#key(field));
  }

  epsilon(kind: NormGeometry["kind"]): number {
    const key = this.#key(`attention.layer_norm_${kind === "rms" ? "rms_" : ""}epsilon`);
    const value = this.metadata.f32(key);
    if (value > 0 && value < 1) return value;
    throw this.metadata.invalid(key, "a number between 0 and 1", `${value}`);
  }

  invalid(field: string, expected: string, found: unknown) {
    return this.metadata.invalid(this.#key(field), expected, String(found));
  }

  #key(field: string): string {
    return `${this.architecture}.${field}`;
  }
}
