/** What is fuzzed: a reader of foreign bytes, where its inputs come from, and what it may take. */
import type { Random } from "@flashwick/core";

/** How inputs are changed: as bytes; as JSON, by its values and keys; as GGUF headers, by their pairs and tensors. The latter two are changed as bytes, too. */
export type InputForm = "bytes" | "json" | "gguf";

/** What one input may take. */
export interface HarnessLimits {
  /** Of a thread, milliseconds; where the machine is busy, the least of several tries counts. */
  readonly ms: number;
  /** By which the heap, array buffers included, may grow. */
  readonly growthBytes: number;
}

/** A reader of foreign bytes, wrapped so that any bytes can be given to it. */
export interface Harness {
  readonly name: string;
  readonly form: InputForm;
  /** What mean something to this reader: inputs are made of them more often than chance has it. */
  readonly words: readonly string[];
  /** Of an input. */
  readonly maxBytes: number;
  readonly limits: HarnessLimits;
  /** Inputs of the short turn that the tests take. Default 700. */
  readonly shortInputs?: number;
  /** Inputs that are read to the end: what others are made from. */
  seeds(): Promise<readonly Uint8Array[]>;
  /** An input of a form of its own, made now and then. */
  invent?(random: Random): Uint8Array;
  /**
   * Reads an input. What it throws must be a typed error; anything else is a fault, and so is an input that takes more than the limits.
   *
   * @param input Valid during the call.
   */
  read(input: Uint8Array): void | Promise<void>;
}

/** What a test of a harness throws where a reader did what it must not do without failing: went outside of its folder, asked without end. */
export class BrokenPromise extends Error {
  override readonly name = "BrokenPromise";
}

const encoder = new TextEncoder();

/** A text as an input. */
export function bytesOf(text: string): Uint8Array {
  return encoder.encode(text);
}

/** A document as an input. */
export function jsonBytes(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value));
}

const decoder = new TextDecoder();

/** An input as a text, broken characters replaced. */
export function textOf(input: Uint8Array): string {
  return decoder.decode(input);
}

/** A number that follows from the input alone: decides what no byte of it says. */
export function choiceOf(input: Uint8Array, ways: number): number {
  const last = input.length === 0 ? 0 : input[input.length - 1]!;
  return (31 * input.length + last) % ways;
}
