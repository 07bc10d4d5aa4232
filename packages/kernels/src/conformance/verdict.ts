/** How results are judged. */

/** A backend that does not do what the contract says. The message names the element, what was expected and what was found. */
export class ConformanceFailure extends Error {
  override readonly name = "ConformanceFailure";
}

/** Fails unless |actual − expected| ≤ bound; NaN fails. */
export function expectClose(what: string, actual: number, expected: number, bound: number): void {
  if (Math.abs(actual - expected) <= bound) return;
  throw new ConformanceFailure(`${what}: expected ${expected} within ${bound}, found ${actual}`);
}

/** Fails unless both arrays hold the same bits; NaN payloads count. */
export function expectSameBits(what: string, actual: Float32Array, expected: Float32Array): void {
  const a = new Uint32Array(actual.buffer, actual.byteOffset, actual.length);
  const b = new Uint32Array(expected.buffer, expected.byteOffset, expected.length);
  expectEqual(`${what}, length`, a.length, b.length);
  for (let i = 0; i < a.length; i++) {
    if (a[i] === b[i]) continue;
    throw new ConformanceFailure(
      `${what}, element ${i}: expected the bits of ${expected[i]}, found those of ${actual[i]}`,
    );
  }
}

export function expectEqual(what: string, actual: unknown, expected: unknown): void {
  if (Object.is(actual, expected)) return;
  throw new ConformanceFailure(`${what}: expected ${String(expected)}, found ${String(actual)}`);
}

/** Fails unless everything in `values` is +0: what lies beyond the last row or column. */
export function expectZeros(what: string, values: Float32Array): void {
  for (const value of values) expectEqual(what, value, 0);
}
