/**
 * The modules over a memory, as one set of exports: for a thread of its own, which cannot load TypeScript, as for the calling one.
 */

/**
 * @param {{ module: WebAssembly.Module, byteModule: WebAssembly.Module | null }} modules The second: for activations of eight bits.
 * @param {WebAssembly.Memory} memory
 * @returns {import("../wasm-exports.js").WasmExports}
 */
export function instanceOver({ module, byteModule }, memory) {
  const imports = { env: { memory } };
  const wasm = new WebAssembly.Instance(module, imports).exports;
  if (byteModule === null) return wasm;
  const bytes = new WebAssembly.Instance(byteModule, imports).exports;
  return {
    ...wasm,
    // biome-ignore format: as the export is declared
    linear(out, x, dtype, data, scales, rows, cols, bias, nTokens, scratch, begin, end) {
      const { linear } = bytes.isBlocks(dtype) ? bytes : wasm;
      linear(out, x, dtype, data, scales, rows, cols, bias, nTokens, scratch, begin, end);
    },
  };
}
