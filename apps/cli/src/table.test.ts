import { describe, expect, it } from "vitest";
import { figure, percent, table, wholePercent } from "./table.js";

describe("table", () => {
  it("puts texts left and columns with numbers right, without trailing spaces", () => {
    expect(
      table([
        ["layer", "rank", "note"],
        [0, 128, "early"],
        [10, 8, ""],
      ]),
    ).toBe("layer  rank  note\n    0   128  early\n   10     8");
  });
  it("gives figures as many digits as say something", () => {
    expect([0.00123456, 1.2345, 123.45, 12345.6, 0, Number.NEGATIVE_INFINITY].map(figure)).toEqual([
      "0.00123",
      "1.23",
      "123.5",
      "12346",
      "0.00",
      "-Infinity",
    ]);
    expect(percent(0.12345)).toBe("12.35 %");
    expect(wholePercent(0.996)).toBe("100 %");
  });
});
