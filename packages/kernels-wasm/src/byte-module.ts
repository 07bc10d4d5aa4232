/**
 * The module with relaxed SIMD, for activations of eight bits: loaded, compiled and probed when it is asked for, for ordinary memories and for shared ones.
 */
import { assert, UnsupportedError } from "@flashwick/core";
import { ARENA_RESERVED_BYTES } from "@flashwick/kernels";
import { PROBE_PAGES, wrongRelaxedResult } from "./relaxed-probe.js";
import type { ByteExports, WasmExports } from "./wasm-exports.js";
import { compileWasmKernels, moduleBytes, wasmModule } from "./wasm-module.js";

const compiled = new Map<boolean, WebAssembly.Module>();

/**
 * Compiles the kernels for activations of eight bits, for both kinds of memory where memory can be shared, and holds what the processor computes against known
 * results. Before `createByteVectorKernels`; a pool does it by itself. Calling it again costs nothing.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` if the runtime lacks relaxed SIMD, or its products are not the ones that kernels rely on.
 */
export async function compileByteVectorKernels(): Promise<void> {
  await compileFor(false);
  if (typeof SharedArrayBuffer === "function") await compileFor(true);
}

async function compileFor(shared: boolean): Promise<void> {
  if (compiled.has(shared)) return;
  const { MODULE } = await import("./generated/byte-module.js");
  await compileWasmKernels(shared);
  let module: WebAssembly.Module;
  try {
    module = await WebAssembly.compile(moduleBytes(MODULE, shared));
  } catch (cause) {
    throw unsupported("which this runtime does not have", { cause });
  }
  const wrong = tryOut(module, shared);
  if (wrong !== null) throw unsupported(`which is wrong here: ${wrong}`, {});
  compiled.set(shared, module);
}

/** What is wrong with results of the module, which is there beside the other one. */
function tryOut(module: WebAssembly.Module, shared: boolean): string | null {
  const memory = new WebAssembly.Memory({ initial: PROBE_PAGES, maximum: PROBE_PAGES, shared });
  const imports = { env: { memory } };
  const others = new WebAssembly.Instance(wasmModule(shared), imports).exports as unknown as WasmExports;
  const bytes = new WebAssembly.Instance(module, imports).exports as unknown as ByteExports;
  assert(others.reservedBytes() <= bytes.firstByte(), "the modules' static data overlap: raise assembly/byte-place.ts");
  assert(bytes.reservedBytes() <= ARENA_RESERVED_BYTES, "the module's static data exceeds the arena's reserved bytes");
  return wrongRelaxedResult(bytes, memory);
}

/** The module, once it has been compiled. */
export function byteModule(shared: boolean): WebAssembly.Module {
  const module = compiled.get(shared);
  assert(
    module !== undefined,
    "await compileByteVectorKernels() before kernels for activations of eight bits are made",
  );
  return module;
}

function unsupported(why: string, options: ErrorOptions): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `activations of 8 bits need WebAssembly's relaxed SIMD, ${why}; run in Node 22 or later or in Chromium 114 or later, ` +
      "or leave out the option: activations then have 15 bits beside blocks",
    options,
  );
}
