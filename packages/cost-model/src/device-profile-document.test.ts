import { describe, expect, it } from "vitest";
import { deviceProfile, sparsityOf } from "./cost.fixture.js";
import { parseDeviceProfile, parseSparsity } from "./device-profile-document.js";

const good = deviceProfile({});
const asJson = (value: unknown) => JSON.parse(JSON.stringify(value));

/** A copy with the figure at a path replaced, or taken out. */
function changed(document: unknown, path: string, value: unknown): unknown {
  const copy = asJson(document);
  const keys = path.split(/[.[\]]+/).filter((key) => key !== "");
  const parent = keys.slice(0, -1).reduce((at, key) => at[key], copy);
  if (value === undefined) delete parent[keys.at(-1)!];
  else parent[keys.at(-1)!] = value;
  return copy;
}

/** Every path of a document that ends in a plain value. */
function leaves(value: unknown, path = ""): string[] {
  if (typeof value !== "object" || value === null) return [path];
  return Object.entries(value).flatMap(([key, inner]) =>
    leaves(inner, Array.isArray(value) ? `${path}[${key}]` : path === "" ? key : `${path}.${key}`),
  );
}

function refusal(document: unknown): { code: string; message: string; details: { field: string } } {
  try {
    parseDeviceProfile(document, "device.json");
  } catch (error) {
    return error as ReturnType<typeof refusal>;
  }
  throw new Error("expected a refusal");
}

describe("parseDeviceProfile", () => {
  it("gives back what was written", () => {
    expect(parseDeviceProfile(asJson(good), "device.json")).toEqual(good);
    expect(parseDeviceProfile({ ...asJson(good), measuredAt: "today" }, "device.json").name).toBe("test");
  });
  it("misses every field by name", () => {
    for (const path of leaves(good)) {
      const { code, message, details } = refusal(changed(good, path, undefined));
      expect([code, details.field]).toEqual(["INPUT_INVALID", path]);
      expect(message).toContain(`device.json: field ${path} is nothing`);
    }
  });
  it("refuses what is negative, not a number, infinite or of another kind", () => {
    const numbers = leaves(good).filter((path) => /Us$|PerSec|ns|Bytes|depth|threads|cores|flop/.test(path));
    expect(numbers.length).toBeGreaterThan(50);
    for (const path of numbers.filter((path) => !path.endsWith("copyBytesPerSec"))) {
      for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY, "fast", null]) {
        expect(refusal(changed2(path, value)).details.field).toBe(path);
      }
    }
  });
  it.each([
    ["schemaVersion", 1],
    ["cores", 0],
    ["cores", 1.5],
    ["flash.mode", "quick"],
    ["flash.shareUnderCompute", 1.5],
    ["flash.reads", []],
    ["flash.reads[2].bytesPerSec", 0],
    ["kernels[0].op", "magic"],
    ["dramBytesPerSec", 1e30],
  ])("names the field: %s = %j", (path, value) => {
    expect(refusal(changed(good, path, value)).details.field).toBe(path);
  });
  it.each([[null], ["text"], [[]], [7]])("refuses %j as a whole", (document) => {
    expect(refusal(document).message).toMatch(/device\.json: .*flashwick profile/);
  });
});

/** As {@link changed}, for values that JSON does not have. */
function changed2(path: string, value: unknown): unknown {
  const copy = structuredClone(good) as unknown as Record<string, unknown>;
  const keys = path.split(/[.[\]]+/).filter((key) => key !== "");
  const parent = keys
    .slice(0, -1)
    .reduce<Record<string, unknown>>((at, key) => at[key] as Record<string, unknown>, copy);
  parent[keys.at(-1)!] = value;
  return copy;
}

describe("parseSparsity", () => {
  const statistics = sparsityOf([0.1, 0.2]);
  it("reads statistics, alone or inside an evaluation", () => {
    expect(parseSparsity(asJson(statistics), "s.json")).toEqual(statistics);
    expect(parseSparsity({ perplexity: 3, sparsity: asJson(statistics) }, "s.json")).toEqual(statistics);
  });
  it.each([
    ["layers", undefined],
    ["layers[1].unionShare[2]", "x"],
    ["unionTokens[0]", 0],
    ["namedQuantiles.p99", undefined],
  ])("names the field: %s = %j", (path, value) => {
    expect(() => parseSparsity(changed(statistics, path, value), "s.json")).toThrowError(
      expect.objectContaining({ code: "INPUT_INVALID", details: { field: path } }),
    );
  });
  it("refuses unions that shrink", () => {
    expect(() => parseSparsity(changed(statistics, "layers[0].unionShare[3]", 0.001), "s.json")).toThrowError(
      expect.objectContaining({ details: { field: "layers[0].unionShare" } }),
    );
  });
});
