/** Typed access to the metadata of a decoded header: each value checked for presence, type and range, each error naming key and place. */
import { FormatError } from "@flashwick/core";
import type { GgufArrayValues, GgufValue } from "./gguf.js";
import type { DecodedGgufHeader } from "./gguf-decoder.js";

export class GgufMetadata {
  readonly #header: DecodedGgufHeader;
  /** Of the file, for messages. */
  readonly fileName: string;

  constructor(header: DecodedGgufHeader, fileName: string) {
    this.#header = header;
    this.fileName = fileName;
  }

  has(key: string): boolean {
    return this.#header.metadata.has(key);
  }

  /** An unsigned integer of any width. */
  integer(key: string, least: number, most: number): number {
    const found = this.#get(key);
    if (found.type !== "u32" && found.type !== "u64") throw this.#wrongType(key, "u32 or u64", found);
    const value = Number(found.value);
    if (value >= least && value <= most) return value;
    throw this.invalid(key, `an integer from ${least} to ${most}`, String(found.value));
  }

  optionalInteger(key: string, least: number, most: number): number | null {
    return this.has(key) ? this.integer(key, least, most) : null;
  }

  f32(key: string): number {
    const found = this.#get(key);
    if (found.type !== "f32") throw this.#wrongType(key, "f32", found);
    return found.value;
  }

  bool(key: string): boolean {
    const found = this.#get(key);
    if (found.type !== "bool") throw this.#wrongType(key, "bool", found);
    return found.value;
  }

  string(key: string): string {
    const found = this.#get(key);
    if (found.type !== "string") throw this.#wrongType(key, "string", found);
    return found.value;
  }

  optionalString(key: string): string | null {
    return this.has(key) ? this.string(key) : null;
  }

  oneOf<T extends string>(key: string, allowed: readonly T[]): T {
    const value = this.string(key);
    if ((allowed as readonly string[]).includes(value)) return value as T;
    throw this.invalid(
      key,
      `one of ${allowed.map((name) => `"${name}"`).join(", ")}`,
      JSON.stringify(value.slice(0, 80)),
    );
  }

  /** An array of one number type and length. */
  array<Of extends "u32" | "f64">(key: string, of: Of, length: number): GgufArrayValues[Of] {
    const found = this.#get(key);
    if (found.type !== "array" || found.of !== of) throw this.#wrongType(key, `an array of ${of}`, found);
    if (found.value.length !== length) throw this.invalid(key, `${length} elements`, `${found.value.length}`);
    return found.value as GgufArrayValues[Of];
  }

  /** The error of a value that is present but not right. */
  invalid(key: string, expected: string, found: string): FormatError {
    const offset = this.#header.valueOffsets.get(key);
    return new FormatError(
      "FORMAT_INVALID",
      `${this.fileName}${offset === undefined ? "" : ` @ ${offset}`}: metadata "${key}": expected ${expected}, found ${found}; convert the checkpoint again`,
      { details: { key, expected, found } },
    );
  }

  #get(key: string): GgufValue {
    const value = this.#header.metadata.get(key);
    if (value !== undefined) return value;
    throw new FormatError(
      "FORMAT_MISSING",
      `${this.fileName}: metadata "${key}" is missing; convert the checkpoint again`,
      { details: { key } },
    );
  }

  #wrongType(key: string, expected: string, found: GgufValue): FormatError {
    return this.invalid(
      key,
      `a value of type ${expected}`,
      found.type === "array" ? `array of ${found.of}` : found.type,
    );
  }
}
