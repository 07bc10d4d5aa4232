import { describe, expect, it } from "vitest";
import { parseCheckpointConfig } from "./checkpoint-config.js";
import { TINY_CONFIG } from "./checkpoint-fixture.js";

function parse(change: Record<string, unknown>) {
  return parseCheckpointConfig(JSON.stringify({ ...TINY_CONFIG, ...change }), "opt/config.json");
}

describe("parseCheckpointConfig", () => {
  it.each([
    [{ torch_dtype: "float16" }, "f16"],
    [{ torch_dtype: "torch.bfloat16" }, "bf16"],
    [{ torch_dtype: undefined, dtype: "float32" }, "f32"],
    [{ torch_dtype: "float16", dtype: "bfloat16" }, "bf16"],
    [{ torch_dtype: "float64" }, null],
    [{ torch_dtype: null }, null],
  ])("reads the element type from %j", (change, dtype) => {
    expect(parse(change).dtype).toBe(dtype);
  });

  it.each([
    { model_type: undefined },
    { architectures: undefined },
    { architectures: null },
    { architectures: [] },
    { architectures: ["OPTModel"] },
  ])("recognises OPT with %j", (change) => {
    expect(parse(change).geometry.architecture).toBe("opt");
  });

  it.each([{ model_type: "bloom" }, { model_type: undefined, architectures: [] }, { architectures: ["XForCausalLM"] }])(
    "refuses %j, naming the document",
    (change) => {
      expect(() => parse(change)).toThrowError(
        expect.objectContaining({
          code: "UNSUPPORTED_ARCHITECTURE",
          message: expect.stringContaining("opt/config.json"),
        }),
      );
    },
  );

  it.each(["[]", "null", '"opt"', '{"model_type": 7}', "{"])("refuses %s", (text) => {
    expect(() => parseCheckpointConfig(text, "config.json")).toThrowError(
      expect.objectContaining({ code: expect.stringMatching(/^(CHECKPOINT_CONFIG|UNSUPPORTED_ARCHITECTURE)$/) }),
    );
  });
});
