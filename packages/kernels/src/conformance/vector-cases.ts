/** `rotate`, `add`, `addScaled`, `relu`, `scale`, `zero`, `selectAbove`, `crc32c`, `crc32cSlots`. */
import { paddedLength } from "@flashwick/core";
import type { RotaryTables } from "../contract.js";
import { expectEqual, expectZeros } from "./verdict.js";
import { SENTINEL, type Workbench } from "./workbench.js";

export interface RotateCase {
  readonly op: "rotate";
  readonly nHeads: number;
  readonly headDim: number;
  /** Default: the whole head. */
  readonly dims?: number;
  /** Default: halves. */
  readonly pairs?: RotaryTables["pairs"];
  readonly position: number;
  readonly nTokens: number;
}

export function rotateTitle(c: RotateCase): string {
  const which = `${c.dims === undefined ? "" : ` the first ${c.dims} of`}${c.pairs === "neighbours" ? " neighbours of" : ""}`;
  return `rotate${which} [${c.nTokens}, ${c.nHeads} x ${c.headDim}] at ${c.position}: each product and sum rounded once, exact; padding untouched`;
}

export function runRotate(bench: Workbench, c: RotateCase): void {
  const { headDim, dims = headDim, pairs = "halves" } = c;
  const half = dims / 2;
  const count = (c.position + c.nTokens) * half;
  const [cos, sin] = [bench.floats(count), bench.floats(count)];
  const x = bench.vectors(c.nTokens, c.nHeads * headDim);
  const tables = { cos: cos.ptr, sin: sin.ptr, headDim, dims, pairs };
  bench.kernels.rotate(x.ptr, tables, c.nHeads, c.position, c.nTokens);
  const stride = paddedLength(c.nHeads * headDim);
  const found = bench.snapshot(x.ptr, c.nTokens * stride);
  for (const [t, vector] of x.values.entries()) {
    for (let i = 0; i < vector.length; i++) {
      const d = i % headDim;
      const [frequency, isSecond] = pairs === "halves" ? [d % half, d >= half] : [d >> 1, d % 2 === 1];
      const apart = pairs === "halves" ? half : 1;
      const at = (c.position + t) * half + frequency;
      const [cosine, sine] = [Math.fround(cos.values[at]!), Math.fround(sin.values[at]!)];
      const own = Math.fround(Math.fround(vector[i]!) * cosine);
      const other = Math.fround(Math.fround(vector[isSecond ? i - apart : i + apart]!) * sine);
      const turned = Math.fround(isSecond ? own + other : own - other);
      expectEqual(`x[${t}, ${i}]`, found[t * stride + i], d < dims ? turned : vector[i]);
    }
    expectZeros(`padding of x[${t}]`, found.subarray(t * stride + vector.length, (t + 1) * stride));
  }
}

export interface ElementwiseCase {
  readonly op: "elementwise";
  readonly count: number;
}

export function elementwiseTitle(c: ElementwiseCase): string {
  return `add, addScaled, relu, scale, zero over ${c.count}: exact, NaN kept, nothing beyond touched`;
}

export function runElementwise(bench: Workbench, { count }: ElementwiseCase): void {
  const { kernels, arena } = bench;
  const a = bench.output(count + 4);
  const b = bench.output(count + 4);
  const left = Float32Array.from({ length: count }, () => bench.random.signed());
  const right = Float32Array.from({ length: count }, () => bench.random.signed());
  if (count > 0) [left[0], left[1]] = [Number.NaN, -0];
  arena.f32(a, count).set(left);
  arena.f32(b, count).set(right);
  kernels.add(a, b, count);
  for (let i = 0; i < count; i++) expectEqual(`sum[${i}]`, arena.f32(a, count)[i], Math.fround(left[i]! + right[i]!));
  arena.f32(a, count).set(left);
  kernels.addScaled(a, b, count, -1 / 3);
  for (let i = 0; i < count; i++) {
    const term = Math.fround(right[i]! * Math.fround(-1 / 3));
    expectEqual(`scaled sum[${i}]`, arena.f32(a, count)[i], Math.fround(left[i]! + term));
  }
  arena.f32(a, count).set(left);
  kernels.relu(a, count);
  for (let i = 0; i < count; i++) expectEqual(`relu[${i}]`, arena.f32(a, count)[i], Math.max(left[i]!, 0));
  arena.f32(a, count).set(left);
  kernels.scale(a, count, 1 / 3);
  const third = Math.fround(1 / 3);
  for (let i = 0; i < count; i++) expectEqual(`scaled[${i}]`, arena.f32(a, count)[i], Math.fround(left[i]! * third));
  kernels.zero(a, count);
  expectZeros("zeroed", arena.f32(a, count));
  for (const beyond of arena.f32(a + 4 * count, 4)) expectEqual("beyond", beyond, SENTINEL);
}

export interface SelectAboveCase {
  readonly op: "selectAbove";
  readonly n: number;
  readonly threshold: number;
}

export function selectAboveTitle(c: SelectAboveCase): string {
  return `selectAbove ${c.n} scores, threshold ${c.threshold}: ascending, strictly above, NaN never`;
}

export function runSelectAbove(bench: Workbench, { n, threshold }: SelectAboveCase): void {
  const scores = bench.vectors(1, n);
  const values = bench.arena.f32(scores.ptr, n);
  for (let i = 3; i < n; i += 7) values[i] = i % 2 ? Number.NaN : threshold;
  const out = bench.indices(new Array(n + 1).fill(0xffffffff));
  const count = bench.kernels.selectAbove(out, scores.ptr, n, threshold);
  const expected = [...values.keys()].filter((i) => values[i]! > Math.fround(threshold));
  expectEqual("indices", bench.arena.u32(out, count).join(), expected.join());
  expectEqual("behind the last", bench.arena.u32(out, n + 1)[n], 0xffffffff);
}

export interface Crc32cCase {
  readonly op: "crc32c";
  readonly text: string;
  readonly expected: number;
}

export function crc32cTitle(c: Crc32cCase): string {
  const shown = c.text.length > 20 ? `${c.text.length} bytes` : JSON.stringify(c.text);
  return `crc32c of ${shown} is 0x${c.expected.toString(16)}, at any offset and in any two parts`;
}

export function runCrc32c(bench: Workbench, { text, expected }: Crc32cCase): void {
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  for (let offset = 0; offset < 16; offset++) {
    const ptr = bench.arena.allocate(bytes.length + 16) + offset;
    bench.arena.u8(ptr, bytes.length).set(bytes);
    expectEqual(`crc at offset ${offset}`, bench.kernels.crc32c(ptr, bytes.length), expected);
    const cut = Math.floor((bytes.length * offset) / 16);
    const first = bench.kernels.crc32c(ptr, cut, 0);
    expectEqual(`crc cut at ${cut}`, bench.kernels.crc32c(ptr + cut, bytes.length - cut, first), expected);
  }
}

export interface Crc32cSlotsCase {
  readonly op: "crc32cSlots";
  readonly strideBytes: number;
  readonly sizeBytes: number;
  readonly slotCount: number;
  /** Slots whose checksums are wanted. */
  readonly n: number;
}

export function crc32cSlotsTitle(c: Crc32cSlotsCase): string {
  return `crc32cSlots ${c.n} of ${c.slotCount} slots, ${c.sizeBytes} of ${c.strideBytes} bytes: each equals a CRC-32C bit by bit, ranges write nothing else`;
}

export function runCrc32cSlots(bench: Workbench, c: Crc32cSlotsCase): void {
  const base = bench.arena.allocate(c.slotCount * c.strideBytes);
  const bytes = bench.arena.u8(base, c.slotCount * c.strideBytes);
  for (let i = 0; i < bytes.length; i++) bytes[i] = 128 * (1 + bench.random.signed());
  const wanted = Array.from({ length: c.n }, (_, i) => (i * 7 + 3) % c.slotCount);
  const slots = bench.indices(wanted);
  const out = bench.indices(new Array(c.n).fill(UNTOUCHED));
  const cuts = [1, 1, Math.floor(c.n / 3), c.n - 1].filter((cut) => cut >= 1 && cut < c.n);
  const expected = wanted.map((slot) =>
    crc32cBitwise(bytes.subarray(slot * c.strideBytes, slot * c.strideBytes + c.sizeBytes)),
  );
  let begin = Math.min(1, c.n);
  for (const end of [...cuts, c.n]) {
    bench.kernels.crc32cSlots(out, base, c.strideBytes, c.sizeBytes, slots, c.n, begin, end);
    const found = bench.arena.u32(out, c.n);
    for (let i = 0; i < c.n; i++) expectEqual(`crc ${i}`, found[i], i >= 1 && i < end ? expected[i] : UNTOUCHED);
    begin = end;
  }
  bench.kernels.crc32cSlots(out, base, c.strideBytes, c.sizeBytes, slots, c.n);
  for (let i = 0; i < c.n; i++) expectEqual(`crc ${i}`, bench.arena.u32(out, c.n)[i], expected[i]);
}

const UNTOUCHED = 0x5e47ab1e;

/** By the definition: one bit of the reflected polynomial 0x82F63B78 after the other. */
function crc32cBitwise(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}
