/** Test support: GGUF files as llama.cpp writes them, of given metadata and tensors. */
import { isFlashwickError, memorySource } from "@flashwick/core";
import { expect } from "vitest";
import { type GgufTensor, type GgufValue, ggufTensorBytes } from "../gguf.js";
import { encodeGgufHeader } from "../gguf-encoder.js";
import { openModelFile } from "../read-model.js";

export const u32 = (value: number): GgufValue => ({ type: "u32", value });
export const f32 = (value: number): GgufValue => ({ type: "f32", value });
export const text = (value: string): GgufValue => ({ type: "string", value });

export type Metadata = Readonly<Record<string, GgufValue | null>>;

/** Keys with changes to them; null takes one away. */
export function metadataWith(base: Metadata, changes: Metadata = {}): Map<string, GgufValue> {
  const metadata = new Map<string, GgufValue>();
  for (const [key, value] of Object.entries({ ...base, ...changes })) if (value !== null) metadata.set(key, value);
  return metadata;
}

export type DeclaredTensor = Omit<GgufTensor, "offset">;

const pad = (bytes: number) => Math.ceil(bytes / 32) * 32;

/** Tensors one behind the other. */
export function laidOut(declared: readonly DeclaredTensor[]): { tensors: GgufTensor[]; dataBytes: number } {
  let dataBytes = 0;
  const tensors = declared.map((tensor) => {
    const offset = dataBytes;
    dataBytes += pad(ggufTensorBytes({ ...tensor, offset })!);
    return { ...tensor, offset };
  });
  return { tensors, dataBytes };
}

/** @param change What the header says of the tensors, in place of where they are. */
export function ggufFile(
  metadata: ReadonlyMap<string, GgufValue>,
  declared: readonly DeclaredTensor[],
  change: (tensors: GgufTensor[]) => GgufTensor[] = (tensors) => tensors,
): Uint8Array {
  const { tensors, dataBytes } = laidOut(declared);
  const header = encodeGgufHeader({ metadata, tensors: change(tensors) }).bytes;
  const file = new Uint8Array(pad(header.length) + dataBytes);
  file.set(header);
  return file;
}

export const renamed = (from: string, to: string) => (tensors: GgufTensor[]) =>
  tensors.map((tensor) => (tensor.name === from ? { ...tensor, name: to } : tensor));

export const changed = (name: string, changes: Partial<GgufTensor>) => (tensors: GgufTensor[]) =>
  tensors.map((tensor) => (tensor.name === name ? { ...tensor, ...changes } : tensor));

export async function openHeader(bytes: Uint8Array) {
  return (await openModelFile(memorySource(bytes, "model.gguf"))).header;
}

/** The typed error that opening ends with. */
export async function failureOf(opening: Promise<unknown>): Promise<{ code: string; message: string }> {
  const failure = await opening.then(
    () => null,
    (error: unknown) => error,
  );
  expect(isFlashwickError(failure)).toBe(true);
  return failure as { code: string; message: string };
}
