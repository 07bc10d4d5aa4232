/** Some operations of every model and device, each fault; `node tools/reliability/faults.mjs` strikes all of them. */
import { describe, expect, it } from "vitest";
import { DEVICES, KINDS, strikeEach, undisturbed } from "./engine-faults.js";
import { foreignModel, ownModel } from "./tiny-models.js";

describe("probe", () => {
  it("counts", async () => {
    for (const model of [
      await ownModel("opt-tiny-sharded", "int8", true),
      await ownModel("llama-tiny-relu", "f16", true),
      await ownModel("mixtral-tiny", "f16", false),
      await foreignModel("qwen3", true),
      await foreignModel("mixtral", true),
      await foreignModel("qwen3", false),
    ]) {
      for (const device of DEVICES) {
        const t = performance.now();
        const { operations, logits } = await undisturbed(model, device);
        console.log(
          model.name,
          device,
          operations,
          logits.length,
          model.options.dramBudgetBytes,
          (performance.now() - t).toFixed(0),
          "ms",
        );
        for (const kind of KINDS) {
          const { struck, outcomes, faults } = await strikeEach(model, device, kind, {
            from: 1,
            step: Math.ceil(operations / 4),
            seed: 1,
          });
          console.log(" ", kind, struck, JSON.stringify([...outcomes]), faults[0] ?? "");
        }
      }
    }
    expect(1).toBe(1);
  });
});
