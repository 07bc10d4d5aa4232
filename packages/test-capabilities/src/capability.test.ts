import { expect, it } from "vitest";
import { CAPABILITIES, capability, neededCapabilities, requiredCapabilities } from "./capability.js";

it("a missing capability skips, and the title says why", () => {
  const { isMissing, title } = capability("memory-group", "this is darwin", {});
  expect(isMissing).toBe(true);
  expect(title("the budget")).toBe("the budget [needs memory-group: this is darwin]");
});

it("one that is there runs, required or not", () => {
  for (const env of [{}, { FLASHWICK_REQUIRE: "direct-io" }]) {
    const { isMissing, title } = capability("direct-io", null, env);
    expect(isMissing).toBe(false);
    expect(title("reads")).toBe("reads [needs direct-io]");
  }
});

it("a required capability that is missing is a failure, not a skip", () => {
  const env = { FLASHWICK_REQUIRE: "chromium, webgpu" };
  expect(() => capability("webgpu", "no driver", env)).toThrow(/webgpu is required, but no driver/);
  expect(capability("direct-io", "a tmpfs", env).isMissing).toBe(true);
});

it("requirements are read in their order, and unknown ones are refused", () => {
  expect(requiredCapabilities({})).toEqual([]);
  expect(requiredCapabilities({ FLASHWICK_REQUIRE: "webgpu,build," })).toEqual(["webgpu", "build"]);
  expect(() => requiredCapabilities({ FLASHWICK_REQUIRE: "gpu" })).toThrow(/gpu is no capability.*memory-group/);
  expect(() => capability("build", null, { FLASHWICK_REQUIRE: "" })).not.toThrow();
});

it("a title gives back the capabilities that it was made with", () => {
  for (const name of CAPABILITIES) {
    for (const missing of [null, "not here: [why]"]) {
      expect(neededCapabilities(`file > ${capability(name, missing, {}).title("a test")} > case`)).toEqual([name]);
    }
  }
  expect(neededCapabilities("any machine: logits [bit for bit]")).toEqual([]);
  const [build, chromium] = [capability("build", null, {}), capability("chromium", "this is darwin", {})];
  expect(neededCapabilities(chromium.title(build.title("the lab")))).toEqual(["build", "chromium"]);
  expect(() => neededCapabilities("a test [needs luck]")).toThrow(/luck/);
});
