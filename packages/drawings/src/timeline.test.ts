import { expect, it } from "vitest";
import type { DrawnStep } from "./step.js";
import { stepAt } from "./timeline.js";

const step = (accepted: number): DrawnStep => ({ ms: 1, phaseMs: {}, spans: [], passes: [], drafts: [], accepted });

it("finds the step whose bars stand at a place, and the nearest one beside them", () => {
  const steps = [step(0), step(2), step(0)];
  // Ten tokens in 100 pixels, right of the axis.
  const at = (x: number) => stepAt(steps, { shownTokens: 10 }, 60 + x, 160);
  expect([at(-30), at(3), at(11), at(39), at(41), at(99)]).toEqual([0, 0, 1, 1, 2, 2]);
});
