/** Where a WebAssembly module says what memory it imports. WebAssembly Core Specification, 5.5.5. */

const IMPORT_SECTION = 2;
const KIND = { function: 0, table: 1, memory: 2, global: 3 };

/**
 * @param {Uint8Array} module
 * @returns {number} Offset of the flags byte of the imported memory's limits.
 */
export function memoryFlagsOffset(module) {
  // Behind magic number and version.
  let at = 8;
  const next = () => {
    let [value, shift, byte] = [0, 0, 0];
    do {
      byte = module[at++];
      value |= (byte & 0x7f) << shift;
      shift += 7;
    } while (byte & 0x80);
    return value;
  };
  const skipName = () => {
    const length = next();
    at += length;
  };
  const skipLimits = () => {
    const flags = module[at++];
    next();
    if (flags & 1) next();
  };
  while (at < module.length) {
    const id = module[at++];
    const size = next();
    if (id !== IMPORT_SECTION) {
      at += size;
      continue;
    }
    for (let left = next(); left > 0; left--) {
      skipName();
      skipName();
      const kind = module[at++];
      if (kind === KIND.memory) return at;
      if (kind === KIND.function) next();
      else if (kind === KIND.global) at += 2;
      else if (kind === KIND.table) {
        at++;
        skipLimits();
      } else throw new Error(`an import of kind ${kind} at ${at - 1}, which is unknown`);
    }
  }
  throw new Error("the module imports no memory");
}
