import { isFlashwickError } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { fixturePredictor } from "./predictor.fixture.js";
import { checkPredictor } from "./predictor-check.js";

const GOOD = fixturePredictor({ dModel: 16, dFf: 32, rank: 8, dtype: "int8" }, 2);
const MODEL = {
  fingerprint: "ab".repeat(32),
  geometry: { dModel: 16, layers: new Array(2).fill({ ffn: { dFf: 32 } }) },
};
const [FIRST, SECOND] = [GOOD.layers[0]!, GOOD.layers[1]!];

describe("checkPredictor", () => {
  it("accepts a predictor of the model", () => {
    expect(() => checkPredictor(GOOD, MODEL)).not.toThrow();
  });

  it("refuses a foreign predictor as an integrity error", () => {
    try {
      checkPredictor(GOOD, { ...MODEL, fingerprint: "cd".repeat(32) });
      expect.unreachable();
    } catch (error) {
      expect(isFlashwickError(error) && error.code).toBe("INTEGRITY_FINGERPRINT");
    }
  });

  it.each([
    ["dModel 16, found 32", { ...GOOD, dModel: 32 }],
    ["dFf 32, found 16", { ...GOOD, dFf: 16 }],
    ["layers 2, found 1", { ...GOOD, layers: [FIRST] }],
    ["at place 0 layer 0, found 1", { ...GOOD, layers: [SECOND, FIRST] }],
    ["layer 1 rank a positive integer, found 0", { ...GOOD, layers: [FIRST, { ...SECOND, rank: 0 }] }],
    ["layer 1 threshold a number, found NaN", { ...GOOD, layers: [FIRST, { ...SECOND, threshold: Number.NaN }] }],
    ["rows 12, found 8", { ...GOOD, layers: [FIRST, { ...SECOND, rank: 12 }] }],
    ["rows 32, found 8", { ...GOOD, layers: [FIRST, { ...SECOND, w2: SECOND.w1 }] }],
  ])("refuses what does not fit: expected %s", (expected, predictor) => {
    expect(() => checkPredictor(predictor, MODEL)).toThrow(expected);
  });
});
