/**
 * Known results of the two relaxed instructions that kernels use, from operands at the ends of their ranges (assembly/byte-dot.ts). An engine that takes signs from the
 * wrong operand, saturates sums of two products, or mixes up lanes gives others.
 */
import type { ByteExports } from "./wasm-exports.js";

/** Beyond what the module reserves. */
const AT = 65536;
/** Of the memory that probes need. */
export const PROBE_PAGES = 2;

interface DotCase {
  readonly what: string;
  /** With signs. */
  readonly q: readonly number[];
  /** 0 to 127. */
  readonly w: readonly number[];
  readonly sum: readonly number[];
  /** sum + the products of four neighbours. */
  readonly expected: readonly number[];
}

const times = (n: number, ...values: number[]) => Array.from({ length: n }, () => values).flat();

const DOT_CASES: readonly DotCase[] = [
  {
    what: "lanes of four neighbours",
    q: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
    w: [1, 1, 1, 1, 2, 2, 2, 2, 1, 0, 0, 0, 0, 0, 0, 127],
    sum: [100, -200, 300, -400],
    expected: [110, -148, 309, 1632],
  },
  {
    what: "the lowest sums of two",
    q: times(16, -128),
    w: times(16, 127),
    sum: times(4, 0),
    expected: times(4, -65024),
  },
  {
    what: "the highest sums of two",
    q: times(16, 127),
    w: times(16, 127),
    sum: times(4, 1),
    expected: times(4, 64517),
  },
  {
    what: "signs of the left operand only",
    q: times(4, -1, 1, -127, 127),
    w: times(4, 127, 64, 2, 1),
    sum: [0, 2147483647, -2147483648, 5],
    // -127 + 64 - 254 + 127 = -190
    expected: [-190, 2147483457, 2147483458, -185],
  },
];

/** What is wrong, in words; null if nothing is. */
export function wrongRelaxedResult(probed: ByteExports, memory: WebAssembly.Memory): string | null {
  for (const { what, q, w, sum, expected } of DOT_CASES) {
    new Int8Array(memory.buffer, AT, 16).set(q);
    new Uint8Array(memory.buffer, AT + 16, 16).set(w);
    const lanes = new Int32Array(memory.buffer, AT + 32, 4);
    lanes.set(sum);
    probed.dotAt(AT);
    const wrong = expected.findIndex((value, i) => lanes[i] !== value);
    if (wrong >= 0) return `${what}: lane ${wrong} of a dot product is ${lanes[wrong]}, expected ${expected[wrong]}`;
  }
  return wrongSelection(probed, memory);
}

function wrongSelection(probed: ByteExports, memory: WebAssembly.Memory): string | null {
  const selected = new Uint8Array(memory.buffer, AT + 16, 16);
  new Uint8Array(memory.buffer, AT, 16).set(Array.from({ length: 16 }, (_, i) => 0xf0 - i));
  selected.set([15, 128, 0, 255, 7, 7, 129, 1, 2, 200, 3, 4, 5, 6, 8, 14]);
  const expected = [0xe1, 0, 0xf0, 0, 0xe9, 0xe9, 0, 0xef, 0xee, 0, 0xed, 0xec, 0xeb, 0xea, 0xe8, 0xe2];
  probed.selectAt(AT);
  const wrong = expected.findIndex((value, i) => selected[i] !== value);
  return wrong < 0 ? null : `byte ${wrong} of a selection is ${selected[wrong]}, expected ${expected[wrong]}`;
}
