import { describe, expect, it } from "vitest";
import { draftAcceptance } from "./draft-acceptance.js";

describe("draftAcceptance", () => {
  it("is the agreement that was measured, not the one that was asked for", () => {
    const calibration = { top1Agreement: 0.99, measured: { top1Agreement: 0.981 } };
    expect(draftAcceptance({ calibration })).toMatchObject({
      share: 0.981,
      source: expect.stringContaining("measured"),
    });
  });
  it.each([
    ["no predictor", null],
    ["no calibration", { tokens: 5 }],
    ["a calibration that measured nothing", { calibration: { top1Agreement: 0.99 } }],
    ["a figure that is no share", { calibration: { measured: { top1Agreement: 98 } } }],
    ["facts that somebody else wrote", { calibration: "yes" }],
  ])("is assumed, and says so, with %s", (_, training) => {
    expect(draftAcceptance(training)).toMatchObject({ share: 0.9, source: expect.stringContaining("assumed") });
  });
});
