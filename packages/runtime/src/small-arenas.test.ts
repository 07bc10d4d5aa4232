import { isFlashwickError } from "@flashwick/core";
import { expect, it } from "vitest";
import { ggufBytes, openModelBytes } from "./checkpoint.fixture.js";

/** Every size at which a few layers, one, or none fit into an arena. */
const SIZES = Array.from({ length: 24 }, (_, i) => 400_000 + i * 60_000);

it("arenas too small for a GGUF file's layers end in a typed error, and all others give the same text", async () => {
  const name = "gemma3-linear";
  const texts = new Set<string>();
  const codes = new Set<string>();
  for (const maxArenaBytes of SIZES) {
    const tokens: number[] = [];
    try {
      const model = await openModelBytes(ggufBytes(name), name, {
        maxArenaBytes,
        contextTokens: 32,
        kvPrecision: "f32",
      });
      for await (const { token } of model.generate([2, 7, 11, 3], { maxTokens: 6, ignoreEos: true }))
        if (token !== null) tokens.push(token);
      await model.close();
      texts.add(tokens.join(" "));
    } catch (error) {
      if (!isFlashwickError(error)) throw error;
      codes.add(error.code);
    }
  }
  expect(texts.size).toBe(1);
  expect([...codes]).toEqual(["BUDGET_TOO_SMALL"]);
});
