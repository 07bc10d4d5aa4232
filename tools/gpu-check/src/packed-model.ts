/** The models of a packed folder, which their list names. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliDecompress } from "node:zlib";

/** An entry of `models/models.json`. */
export interface PackedModel {
  readonly name: string;
  /** In the same folder, compressed by Brotli. */
  readonly file: string;
  /** How far WebGPU's logits may be from WebAssembly's: the bound that both have from the references. */
  readonly bound: number;
}

export const MODEL_LIST = "models.json";

/** @param folder Of the models. */
export async function readPackedModels(folder: string): Promise<readonly PackedModel[]> {
  return JSON.parse(await readFile(join(folder, MODEL_LIST), "utf8"));
}

/** The bytes of a model's file. */
export async function readPackedBytes(folder: string, { file }: PackedModel): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await promisify(brotliDecompress)(await readFile(join(folder, file))));
}
