/**
 * Packs the check: Node and Dawn compressed, this package's bundles, small models, the Vulkan loader where there is one, README and run.sh. Nothing of
 * the checkout is needed afterwards.
 */
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { demoModels } from "@flashwick/demo-models";
import { createModelWriter, memorySink } from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { PACKED_DAWN } from "./dawn.js";
import { LIBRARY_FOLDERS } from "./missing-library.js";
import { MODEL_LIST, type PackedModel } from "./packed-model.js";
import { requantiseGguf } from "./requantised-gguf.js";

/** What a folder may have at most: it is to be sent. */
const MOST_BYTES = 60e6;
/** As goldens of record types and of llama.cpp's files; int8 rounds activations on WebAssembly alone. */
const LOGIT_BOUND = 2e-2;

const tool = fileURLToPath(new URL("../", import.meta.url));
const fixtures = fileURLToPath(new URL("../../../packages/runtime/fixtures/gguf/", import.meta.url));

/** @param args The folder. Sets the exit status. */
export async function packFromCommandLine(args: readonly string[]): Promise<void> {
  const [folder, ...others] = args;
  try {
    if (!folder || folder.startsWith("-") || others.length > 0)
      throw new Error("expected one folder: pack.mjs <folder>");
    const bytes = await pack(folder);
    console.log(`${folder}: ${(bytes / 1e6).toFixed(1)} MB; there, run \`sh run.sh\``);
  } catch (error) {
    console.error(`gpu-check: ${(error as Error).message}`);
    process.exitCode = 2;
  }
}

/**
 * Fills a folder, which must be empty or not there.
 *
 * @returns Its bytes.
 * @throws {Error} on other machines than Linux on x64, for a folder that is in use, and if the result is too large.
 */
export async function pack(folder: string): Promise<number> {
  const machine = `${process.platform} on ${process.arch}`;
  if (machine !== "linux on x64")
    throw new Error(`expected Linux on x64, whose Node and Dawn are packed, found ${machine}`);
  await mkdir(folder, { recursive: true });
  if ((await readdir(folder)).length > 0) throw new Error(`${folder} is not empty; name a folder that is new`);
  for (const name of ["lib", "models", "loader"]) await mkdir(join(folder, name));
  await packPrograms(folder);
  await packModels(join(folder, "models"));
  await packLoader(join(folder, "loader"));
  const bytes = await folderBytes(folder);
  if (bytes <= MOST_BYTES) return bytes;
  throw new Error(`${folder} has ${bytes} bytes, expected at most ${MOST_BYTES}; pack with a smaller Node`);
}

async function packPrograms(folder: string): Promise<void> {
  for (const name of ["gpu-check", "conformance-worker"]) {
    await copyFile(join(tool, `dist/${name}.js`), join(folder, `lib/${name}.mjs`));
  }
  for (const name of ["README.md", "run.sh"]) await copyFile(join(tool, name), join(folder, name));
  await chmod(join(folder, "run.sh"), 0o755);
  // Nothing but gzip may be asked of the machine before there is Node.
  await writeFile(join(folder, "node.gz"), await promisify(gzip)(await readFile(process.execPath), { level: 9 }));
  await writeFile(join(folder, PACKED_DAWN), await compress(await readFile(dawnPath())));
}

/** The package `webgpu` names its binding by platform. */
function dawnPath(): string {
  const entry = createRequire(import.meta.url).resolve("webgpu");
  return join(dirname(entry), `dist/${process.platform}-${process.arch}/dawn.node`);
}

async function packModels(folder: string): Promise<void> {
  const llama = new Uint8Array(await readFile(join(fixtures, "llama.gguf")));
  const models: readonly (readonly [string, Uint8Array])[] = [
    ["opt-demo-int8", await convertDemo()],
    ["gemma3-linear-q4_0", await readFile(join(fixtures, "gemma3-linear.gguf"))],
    ["llama-q4_k-q6_k-q8_0", await requantiseGguf(llama, ["Q5_K"])],
  ];
  const list: PackedModel[] = [];
  for (const [name, bytes] of models) {
    const file = `${name}.gguf.br`;
    await writeFile(join(folder, file), await compress(bytes));
    list.push({ name, file, bound: LOGIT_BOUND });
  }
  await writeFile(join(folder, MODEL_LIST), `${JSON.stringify(list, null, 2)}\n`);
}

async function convertDemo(): Promise<Uint8Array> {
  const sink = memorySink("opt-demo");
  const checkpoint = await openCheckpointFolder(demoModels["opt-demo"].checkpointDir);
  await convertCheckpoint(checkpoint, (spec) => createModelWriter(sink, spec), { dtype: "int8" });
  return sink.committed!;
}

/** For a machine that has a driver and no loader. Where there is none here either, that machine is told what to install. */
async function packLoader(folder: string): Promise<void> {
  const folders = [...(process.env.LD_LIBRARY_PATH ?? "").split(":").filter(Boolean), ...LIBRARY_FOLDERS];
  const found = folders.map((from) => join(from, "libvulkan.so.1")).find((path) => existsSync(path));
  if (found) await copyFile(found, join(folder, "libvulkan.so.1"));
}

async function compress(bytes: Uint8Array): Promise<Buffer> {
  const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_LGWIN } = constants;
  return await promisify(brotliCompress)(bytes, { params: { [BROTLI_PARAM_QUALITY]: 9, [BROTLI_PARAM_LGWIN]: 24 } });
}

async function folderBytes(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = names.filter((entry) => entry.isFile());
  const sizes = await Promise.all(files.map(async (entry) => (await stat(join(entry.parentPath, entry.name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}
