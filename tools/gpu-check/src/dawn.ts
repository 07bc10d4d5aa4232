/** Dawn, WebGPU for Node, out of a packed folder. */
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliDecompress } from "node:zlib";

interface DawnModule {
  readonly create: (flags: string[]) => GPU;
  readonly globals: object;
}

/** In a packed folder, and uncompressed beside Node. */
export const PACKED_DAWN = "dawn.node.br";
const UNPACKED_DAWN = "dawn.node";

/**
 * Unpacks the binding once, and opens it.
 *
 * @param packed   The packed folder.
 * @param unpacked Where Node lies already.
 * @throws The system's error, which names a library that is missing.
 */
export async function openDawn(packed: string, unpacked: string): Promise<GPU> {
  const path = join(unpacked, UNPACKED_DAWN);
  if (!existsSync(path)) {
    await mkdir(unpacked, { recursive: true });
    const bytes = await promisify(brotliDecompress)(await readFile(join(packed, PACKED_DAWN)));
    await writeFile(`${path}.new`, bytes);
    await rename(`${path}.new`, path);
  }
  const { create, globals } = createRequire(import.meta.url)(path) as DawnModule;
  Object.assign(globalThis, globals);
  return create([]);
}
