import fc from "fast-check";
import { expect, it } from "vitest";
import { crc32c } from "./crc32c.js";
import { crc32cJoin } from "./crc32c-join.js";

it("joins the checksums of any two stretches, empty ones too", () => {
  const bytes = fc.uint8Array({ maxLength: 300 });
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      expect(crc32cJoin(b.length)(crc32c(a), crc32c(b))).toBe(crc32c(Uint8Array.of(...a, ...b)));
    }),
  );
});
it("joins many pieces of one length, one after another", () => {
  const bytes = Uint8Array.from({ length: 10 * 4096 }, (_, i) => (i * 2654435761) >>> 24);
  const join = crc32cJoin(4096);
  const pieces = Array.from({ length: 10 }, (_, i) => crc32c(bytes.subarray(4096 * i, 4096 * (i + 1))));
  expect(pieces.reduce(join)).toBe(crc32c(bytes));
});
