import { GiB, KiB, MiB } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { parseByteSize, resolveByteSize } from "./byte-size.js";

const bytes = (text: string) => {
  const size = parseByteSize(text);
  return size && resolveByteSize(size, 1000);
};

describe("parseByteSize", () => {
  it.each([
    ["512KiB", 512 * KiB],
    ["8MiB", 8 * MiB],
    ["3.5GiB", 3.5 * GiB],
    ["2TiB", 2048 * GiB],
    ["1048576", 1048576],
    ["0", 0],
    ["0.3KiB", 307],
    ["50%", 500],
    ["33.3%", 333],
    ["150%", 1500],
    [" 8MiB ", 8 * MiB],
  ])("reads %s", (text, expected) => {
    expect(bytes(text)).toBe(expected);
  });

  it.each([
    "",
    "MiB",
    "8MB",
    "8M",
    "8 MiB",
    "8mib",
    "-1",
    "-8MiB",
    "1.5",
    "1e6",
    "0x10",
    "%",
    "NaN",
    "8MiB2",
    "9999999TiB",
  ])("refuses %j", (text) => {
    expect(parseByteSize(text)).toBeNull();
  });
});
