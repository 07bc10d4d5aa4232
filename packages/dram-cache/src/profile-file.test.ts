import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeProfile, encodeProfile } from "./profile-file.js";
import { profileOfUses, type UnitProfile } from "./unit-profile.js";

const FINGERPRINT = "a".repeat(64);
const MODEL = { fingerprint: FINGERPRINT, nLayers: 2, nUnits: 4 };
const profile = profileOfUses(FINGERPRINT, [
  [0, 5, 1, 5],
  [2, 0, 3, 0],
]);

describe("a profile's file", () => {
  it("gives the profile back", () => {
    const uses = fc.array(fc.nat(5), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(uses, { minLength: 1, maxLength: 3 }), (uses) => {
        const profile: UnitProfile = profileOfUses(FINGERPRINT, uses);
        expect(decodeProfile(encodeProfile(profile), { ...MODEL, nLayers: uses.length })).toEqual(profile);
      }),
    );
  });

  it("is what SPEC.md shows", () => {
    expect(encodeProfile({ ...profile, fingerprint: "5e…" })).toBe(`{
  "format": "flashwick.profile",
  "version": 1,
  "fingerprint": "5e…",
  "nUnits": 4,
  "hottest": [
    [1, 3, 2],
    [2, 0]
  ]
}
`);
  });

  const text = encodeProfile(profile);
  const DEEP = "[".repeat(100_000) + "]".repeat(100_000);
  const changed = (from: string, to: string) => text.replace(from, to);
  it.each([
    ["what is no JSON", "{", "FORMAT_INVALID", /^hot\.json: no JSON/],
    ["a list", "[]", "FORMAT_INVALID", /the document is a list, expected an object/],
    ["null", "null", "FORMAT_INVALID", /the document is null/],
    ["another format", changed("flashwick.profile", "other"), "FORMAT_INVALID", /format is "other"/],
    ["another version", changed('"version": 1', '"version": 2'), "FORMAT_VERSION", /version 2, expected 1/],
    ["a fingerprint that is none", changed(`"${FINGERPRINT}"`, "7"), "FORMAT_INVALID", /fingerprint is number/],
    ["another model's", changed("aaaa", "bbbb"), "INTEGRITY_FINGERPRINT", /of model bbbbaaaaaaaa…, expected aaaa/],
    ["another width", changed('"nUnits": 4', '"nUnits": 5'), "FORMAT_INVALID", /nUnits is 5, expected the model's 4/],
    ["another number of layers", changed(",\n    [2, 0]", ""), "FORMAT_INVALID", /1 lists, expected a list for each/],
    ["no layers", changed('"hottest"', '"coldest"'), "FORMAT_INVALID", /hottest is undefined/],
    ["a layer that is no list", changed("[2, 0]", "3"), "FORMAT_INVALID", /hottest\[1\] is number/],
    ["a unit beyond", changed("[2, 0]", "[2, 4]"), "FORMAT_INVALID", /hottest\[1\]\[1\] is 4, expected distinct units/],
    ["a unit below", changed("[2, 0]", "[-1]"), "FORMAT_INVALID", /hottest\[1\]\[0\] is -1/],
    ["half a unit", changed("[2, 0]", "[0.5]"), "FORMAT_INVALID", /hottest\[1\]\[0\] is 0.5/],
    [
      "a version that nests too deep to be written out",
      changed('"version": 1', `"version": ${DEEP}`),
      "FORMAT_VERSION",
      /version \[\[\["…"\]\]\]/,
    ],
    ["a unit twice", changed("[2, 0]", "[2, 2]"), "FORMAT_INVALID", /hottest\[1\]\[1\] is 2/],
  ])("refuses %s", (_, text, code, message) => {
    expect(() => decodeProfile(text, MODEL, "hot.json")).toThrowError(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });
});
