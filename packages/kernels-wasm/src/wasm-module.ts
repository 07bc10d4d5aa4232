/**
 * The compiled modules: one for ordinary memories, one for shared ones, each compiled at most once and kept.
 *
 * Both come from the same bytes; the flag of the memory import is all that tells them apart. Compiling takes a few
 * milliseconds. A page's main thread may refuse to compile synchronously: {@link compileWasmKernels} first, then
 * `createWasmKernels` finds the module ready.
 */
import { UnsupportedError } from "@flashwick/core";
import { MODULE } from "./generated/module.js";

/** A module as scripts/build-wasm.mjs writes it. */
export interface ModuleText {
  /** Lower-case hexadecimal: compressed as sites send it, it takes a quarter less than base64, in which no byte stands twice alike. */
  readonly hex: string;
  /** Where the memory import says whether memory is shared. */
  readonly limitsFlagOffset: number;
  readonly sharedLimitsFlag: number;
}

const compiled = new Map<boolean, WebAssembly.Module>();

/**
 * Compiles the kernels without blocking. Needed only where synchronous compilation is refused; calling it again costs nothing.
 *
 * @param shared For arenas in shared memory.
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` if the platform lacks WebAssembly SIMD (or threads, if shared).
 */
export async function compileWasmKernels(shared = false): Promise<void> {
  if (compiled.has(shared)) return;
  try {
    compiled.set(shared, await WebAssembly.compile(moduleBytes(MODULE, shared)));
  } catch (cause) {
    throw unsupported(cause);
  }
}

/** The module, compiled now if it has not been yet. */
export function wasmModule(shared: boolean): WebAssembly.Module {
  let module = compiled.get(shared);
  if (module === undefined) {
    try {
      module = new WebAssembly.Module(moduleBytes(MODULE, shared));
    } catch (cause) {
      throw unsupported(cause);
    }
    compiled.set(shared, module);
  }
  return module;
}

/** The module's bytes for either kind of memory. */
export function moduleBytes(
  { hex, limitsFlagOffset, sharedLimitsFlag }: ModuleText,
  shared: boolean,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = 16 * digit(hex, 2 * i) + digit(hex, 2 * i + 1);
  if (shared) bytes[limitsFlagOffset] = sharedLimitsFlag;
  return bytes;
}

/** Of lower-case hexadecimal. */
function digit(hex: string, at: number): number {
  const code = hex.charCodeAt(at);
  return code < 0x3a ? code - 0x30 : code - 0x57;
}

function unsupported(cause: unknown): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    "the platform does not compile WebAssembly SIMD here; call compileWasmKernels() first, or use the reference backend",
    { cause },
  );
}
