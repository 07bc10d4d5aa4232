import { expect, it } from "vitest";
import { openFixture } from "./checkpoint.fixture.js";
import { EVENT_LOOP_WAIT_MS } from "./event-loop.js";
import { Model } from "./model.js";
import { scoreTokens } from "./score.js";

it("lets an abort in although neither reader nor kernels ever wait", async () => {
  const { parts } = await openFixture("opt-tiny-sharded");
  let nowMs = 0;
  const model = new Model({ ...parts, clock: () => (nowMs += EVENT_LOOP_WAIT_MS) });
  const controller = new AbortController();
  const reason = new Error("enough");
  setImmediate(() => controller.abort(reason));
  await expect(scoreTokens(model, [2, 17, 101], { signal: controller.signal })).rejects.toBe(reason);
  await model.close();
});
