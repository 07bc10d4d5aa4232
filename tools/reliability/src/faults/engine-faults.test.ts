/** Two operations of some models on two devices, and each fault; `node tools/reliability/faults.mjs` strikes all of them. */
import { describe, expect, it } from "vitest";
import { type Device, KINDS, strikeEach, undisturbed } from "./engine-faults.js";
import { foreignModel, TINY_MODELS } from "./tiny-models.js";

describe.each(["opt", "mixture", "gguf with checksums"])("an engine over a file that fails: %s", (name) => {
  it.each<Device>(["file", "server without versions"])(
    "on a %s: a typed error and a clean end, or the undisturbed logits",
    async (device) => {
      const model = await TINY_MODELS.get(name)!();
      const { operations } = await undisturbed(model, device);
      for (const [i, kind] of KINDS.entries()) {
        // Of each kind others, and the one that opens the file among them.
        const from = 1 + Math.floor((i * operations) / (3 * KINDS.length));
        const { struck, faults } = await strikeEach(model, device, kind, {
          from,
          step: Math.ceil(operations / 2),
          seed: 1,
        });
        expect([faults, struck]).toEqual([[], 2]);
      }
    },
  );
});

describe("a campaign tells of", () => {
  it("wrong logits, where a wrong bit was to be found", async () => {
    const model = { ...(await foreignModel("qwen3", false)), isChecked: true };
    const { faults } = await strikeEach(model, "file", "wrong-bit", { from: 30, step: 1, seed: 1 });
    expect(faults.join("\n")).toMatch(/qwen3.gguf without, file: wrong-bit at operation \d+ of \d+: wrong logits/);
  });
});
