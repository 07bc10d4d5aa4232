import { describe, expect, it } from "vitest";
import { parseModelAddress } from "./model-address.js";

describe("the address of a model", () => {
  it.each([
    ["gpt2", "gpt2", null],
    ["facebook/opt-125m", "facebook/opt-125m", null],
    ["a.b/C_d-1.5/model.gguf", "a.b/C_d-1.5", "model.gguf"],
    ["owner/name/Q4_K_M/model 1.gguf", "owner/name", "Q4_K_M/model 1.gguf"],
  ])("%s", (text, repository, path) => {
    expect(parseModelAddress(text)).toEqual({ repository, path });
  });

  it.each([
    "",
    "/",
    "owner/",
    "/name",
    "../name",
    "owner/..",
    "owner/na..me",
    "owner/name/",
    "owner/name/../../etc/passwd",
    "owner/name/./x.gguf",
    "owner/name/a\\b.gguf",
    "owner/name/a\u0007.gguf",
    "https://huggingface.co/owner/name",
    "owner/name?x",
  ])("is not %j", (text) => {
    expect(() => parseModelAddress(text)).toThrowError(expect.objectContaining({ code: "INPUT_INVALID" }));
  });
});
