/** Typed access to the metadata of a header: each value checked for presence, type and range, each error naming key and place. */
import { FormatError } from "@flashwick/core";
import type { GgufArray, GgufArrayValues, GgufValue, GgufValueType } from "./gguf.js";

/** What to do about metadata that is not as it should be: the end of a message. */
export type MetadataAdvice = "convert the checkpoint again" | "the file is damaged, fetch it again";

/** Values, and where they stand if that is known. */
export interface MetadataValues {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly valueOffsets?: ReadonlyMap<string, number>;
}

const INTEGER_TYPES: readonly GgufValueType[] = ["u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64"];
/** Of arrays; those of 64-bit integers are none: nothing that we ask for is as large. */
const NUMBER_TYPES: readonly GgufValueType[] = ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "f64"];

/** Metadata of a GGUF file by key, each value checked for type and range. */
export class GgufMetadata {
  readonly #values: MetadataValues;
  /** Of the file, for messages. */
  readonly fileName: string;
  readonly #advice: MetadataAdvice;

  constructor(values: MetadataValues, fileName: string, advice: MetadataAdvice) {
    this.#values = values;
    this.fileName = fileName;
    this.#advice = advice;
  }

  /** Whether the key is there. */
  has(key: string): boolean {
    return this.#values.metadata.has(key);
  }

  /** An integer of any width: writers differ in what they take. */
  integer(key: string, least: number, most: number): number {
    const found = this.#get(key);
    if (!INTEGER_TYPES.includes(found.type)) throw this.#wrongType(key, "an integer", found);
    const value = Number(found.value);
    if (value >= least && value <= most) return value;
    throw this.invalid(key, `an integer from ${least} to ${most}`, String(found.value));
  }

  /** As `integer`, or null where the key is absent. */
  optionalInteger(key: string, least: number, most: number): number | null {
    return this.has(key) ? this.integer(key, least, most) : null;
  }

  /** A number. @throws {FormatError} as `integer`. */
  f32(key: string): number {
    const found = this.#get(key);
    if (found.type !== "f32") throw this.#wrongType(key, "a value of type f32", found);
    return found.value;
  }

  /** A boolean. @throws {FormatError} as `integer`. */
  bool(key: string): boolean {
    const found = this.#get(key);
    if (found.type !== "bool") throw this.#wrongType(key, "a boolean", found);
    return found.value;
  }

  /** As `bool`, or null where the key is absent. */
  optionalBool(key: string): boolean | null {
    return this.has(key) ? this.bool(key) : null;
  }

  /** A text. @throws {FormatError} as `integer`. */
  string(key: string): string {
    const found = this.#get(key);
    if (found.type !== "string") throw this.#wrongType(key, "a string", found);
    return found.value;
  }

  /** As `string`, or null where the key is absent. */
  optionalString(key: string): string | null {
    return this.has(key) ? this.string(key) : null;
  }

  /** One of the given texts. @throws {FormatError} for another. */
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

  /** An array of at most `most` strings. */
  strings(key: string, most: number): readonly string[] {
    const found = this.#get(key);
    if (found.type !== "array" || found.of !== "string") throw this.#wrongType(key, "an array of strings", found);
    if (found.value.length > most) throw this.limit(`${key}": elements`, most, found.value.length);
    return found.value;
  }

  /** An array of exactly `count` numbers of any type; null if the key is absent. */
  optionalNumbers(key: string, count: number): ArrayLike<number> | null {
    if (!this.has(key)) return null;
    const found = this.#get(key);
    if (found.type !== "array" || !isNumeric(found)) throw this.#wrongType(key, "an array of numbers", found);
    if (found.value.length === count) return found.value;
    throw this.invalid(key, `${count} elements`, `${found.value.length}`);
  }

  /** The error of a value that is present but not right. */
  invalid(key: string, expected: string, found: string): FormatError {
    const offset = this.#values.valueOffsets?.get(key);
    return new FormatError(
      "FORMAT_INVALID",
      `${this.fileName}${offset === undefined ? "" : ` @ ${offset}`}: metadata "${key}": expected ${expected}, found ${found}; ${this.#advice}`,
      { details: { key, expected, found } },
    );
  }

  /** The error of a value that is not there. */
  missing(key: string): FormatError {
    return new FormatError("FORMAT_MISSING", `${this.fileName}: metadata "${key}" is missing; ${this.#advice}`, {
      details: { key },
    });
  }

  /** The error of too much of something. @param what Begins with a key and its closing quotation mark. */
  limit(what: string, limit: number, found: number): FormatError {
    return new FormatError(
      "FORMAT_LIMIT",
      `${this.fileName}: metadata "${what}: expected at most ${limit}, found ${found}; the file is damaged or hostile`,
      { details: { limit, found } },
    );
  }

  #get(key: string): GgufValue {
    const value = this.#values.metadata.get(key);
    if (value === undefined) throw this.missing(key);
    return value;
  }

  #wrongType(key: string, expected: string, found: GgufValue): FormatError {
    return this.invalid(key, expected, found.type === "array" ? `an array of ${found.of}` : found.type);
  }
}

function isNumeric(
  array: GgufArray,
): array is Extract<GgufArray, { readonly of: "u8" | "i8" | "u16" | "i16" | "u32" | "i32" | "f32" | "f64" }> {
  return NUMBER_TYPES.includes(array.of);
}
