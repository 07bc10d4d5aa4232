import { type Kernels, kernelFactory } from "@flashwick/kernels";
import { expect, it } from "vitest";
import { openFixture } from "./checkpoint.fixture.js";
import { Model } from "./model.js";

it("planning makes no kernels, which a device would keep", async () => {
  const { parts } = await openFixture("opt-tiny-sharded");
  let made = 0;
  const kernels = kernelFactory<Kernels>((arena) => {
    made++;
    return parts.kernels(arena);
  }, parts.kernels);
  const model = new Model({ ...parts, kernels }, { mode: "dense" });
  for (const contextTokens of [8, 16, 24]) model.plan(contextTokens);
  expect(made).toBe(0);
  await model.withSequence(8, async (sequence) => void (await sequence.prefill([3, 50])));
  expect(made).toBe(1);
  await model.close();
});
