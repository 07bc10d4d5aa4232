import { BLOCK_DTYPES, RECORD_DTYPES, UnsupportedError } from "@flashwick/core";
import { expect, it } from "vitest";
import { requireDeviceDType } from "./device-dtype.js";

it.each(BLOCK_DTYPES)("refuses %s by name", (dtype) => {
  expect(() => requireDeviceDType(dtype)).toThrow(UnsupportedError);
  expect(() => requireDeviceDType(dtype)).toThrow(`weights of type ${dtype}, expected one of f32, f16, bf16, int8`);
});

it.each(RECORD_DTYPES)("takes %s", (dtype) => {
  expect(() => requireDeviceDType(dtype)).not.toThrow();
});
