import { expect, it } from "vitest";
import { autoThreads, SMALL_FILE_BYTES } from "./compute.js";

it("one thread a core, but one for small files, at least one, and never more than eight", () => {
  expect(autoThreads(SMALL_FILE_BYTES, 4)).toBe(4);
  expect(autoThreads(SMALL_FILE_BYTES - 1, 4)).toBe(1);
  expect(autoThreads(SMALL_FILE_BYTES, 0)).toBe(1);
  expect(autoThreads(SMALL_FILE_BYTES, 64)).toBe(8);
});
