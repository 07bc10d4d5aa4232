/**
 * From the words of the command line to the values of an option. What cannot be read is wrong usage; what can be read but not
 * be met (a token outside the vocabulary, a budget too small) is left to the libraries, which know why.
 */
import { InvalidArgumentError } from "commander";
import { BYTE_SIZE_FORMS, type ByteSize, parseByteSize } from "./byte-size.js";

type Parse<T> = (text: string) => T;

/** An integer of at least `least`, in decimal digits. */
export function integer(least: number): Parse<number> {
  return (text) => {
    const value = decimal(text);
    if (value >= least) return value;
    throw new InvalidArgumentError(`Expected an integer of at least ${least}.`);
  };
}

/** An integer from `least` to `most`. */
export function integerWithin(least: number, most: number): Parse<number> {
  return (text) => {
    const value = decimal(text);
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`Expected an integer from ${least} to ${most}.`);
  };
}

/** A word: some characters, none of them white space. */
export function word(text: string): string {
  if (/^\S+$/.test(text)) return text;
  throw new InvalidArgumentError("Expected at least one character, and no white space.");
}

/** `4,8,16`: integers from `least` to `most`, at least one. */
export function integers(least: number, most: number): Parse<number[]> {
  return (text) => {
    const values = text.split(",").map((part) => decimal(part.trim()));
    if (values.every((value) => value >= least && value <= most)) return values;
    throw new InvalidArgumentError(`Expected integers from ${least} to ${most}, separated by commas.`);
  };
}

/** How many of something: a number, or a share of all. */
export type CountOrShare =
  | { readonly kind: "count"; readonly count: number }
  | { readonly kind: "share"; readonly share: number };

/** `512,1024` or `5%,10%`: counts of at least 1, or shares of something, at least one. */
export function countsOrShares(text: string): CountOrShare[] {
  return text.split(",").map((part): CountOrShare => {
    const value = part.trim();
    const count = decimal(value);
    if (count >= 1) return { kind: "count", count };
    if (value.endsWith("%")) return { kind: "share", share: share(value) };
    throw new InvalidArgumentError("Expected counts of at least 1 or shares, as in 512,1024 or 5%,10%.");
  });
}

/** NaN for what is no integer in decimal digits. */
function decimal(text: string): number {
  const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) ? value : Number.NaN;
}

/** A finite number from `least` to `most`. */
export function number(least: number, most = Number.POSITIVE_INFINITY): Parse<number> {
  return (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (Number.isFinite(value) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(
      `Expected a number ${most === Number.POSITIVE_INFINITY ? `of at least ${least}` : `from ${least} to ${most}`}.`,
    );
  };
}

/** `0.5%` or `0.005`: a share, at least 0 and at most 1. */
export function share(text: string): number {
  const [, digits, sign] = /^(\d+(?:\.\d*)?|\.\d+)(%?)$/.exec(text.trim()) ?? [];
  const value = digits === undefined ? Number.NaN : Number(digits) / (sign === "%" ? 100 : 1);
  if (value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError("Expected a share: 0.5% or 0.005.");
}

/** `auto`, or what `parse` reads. */
export function orAuto<T>(parse: Parse<T>): Parse<T | "auto"> {
  return (text) => (text === "auto" ? "auto" : parse(text));
}

/** A logit: a number, or minus infinity, which names every neuron. */
export function threshold(text: string): number {
  if (/^-inf(inity)?$/i.test(text)) return Number.NEGATIVE_INFINITY;
  if (/^\+?inf(inity)?$/i.test(text)) return Number.POSITIVE_INFINITY;
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (Number.isFinite(value)) return value;
  throw new InvalidArgumentError("Expected a number or -inf.");
}

/** `1,2,3`. */
export function tokenIds(text: string): number[] {
  const parts = text.split(",").map((part) => part.trim());
  if (parts.every((part) => /^-?\d+$/.test(part))) return parts.map(Number);
  throw new InvalidArgumentError("Expected token ids, as in 2,17,4.");
}

export function byteSize(text: string): ByteSize {
  const size = parseByteSize(text);
  if (size) return size;
  throw new InvalidArgumentError(`Expected ${BYTE_SIZE_FORMS}.`);
}

/** A size that is no share of anything. */
export function plainBytes(text: string): number {
  const size = parseByteSize(text);
  if (size?.kind === "bytes") return size.bytes;
  throw new InvalidArgumentError("Expected a number of bytes, or a size such as 8KiB.");
}

/** `3` or `0-5`, both ends included. */
export function layerRange(text: string): { readonly first: number; readonly last: number } {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (match && first <= last) return { first, last };
  throw new InvalidArgumentError("Expected a layer or a range of layers, as in 0-5.");
}

/** For flags that may be given several times. */
export function collect(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}
