import { gitSha1, sha256 } from "@flashwick/test-capabilities/hub-server";
import { describe, expect, it } from "vitest";
import { ContentCheck } from "./content-check.js";
import { nodeHash } from "./node/file-content.js";

const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i * 31);
const lfs = { path: "m.gguf", sizeBytes: 5000, content: { kind: "sha256", hex: sha256(bytes) } } as const;
const git = { path: "config.json", sizeBytes: 5000, content: { kind: "git-sha1", hex: gitSha1(bytes) } } as const;

describe.each([
  ["the portable hashes", undefined],
  ["Node's", nodeHash],
])("%s", (_, createHash) => {
  it.each([lfs, git])("know $path by its $content.kind, and give its SHA-256", (file) => {
    const check = new ContentCheck(file, createHash);
    check.update(bytes.subarray(0, 1234));
    check.update(bytes.subarray(1234));
    expect(check.demand("here")).toBe(sha256(bytes));
  });
  it.each([lfs, git])("refuse another content of $path", (file) => {
    const check = new ContentCheck(file, createHash);
    check.update(bytes.subarray(0, 4999));
    check.update(Uint8Array.of(bytes[4999]! ^ 1));
    expect(() => check.demand("here")).toThrowError(
      expect.objectContaining({ code: "INTEGRITY_DOWNLOAD", message: expect.stringContaining(file.content.hex) }),
    );
  });
});

it("git's name of a content is git's: that of an empty file is well known", () => {
  expect(gitSha1(new Uint8Array(0))).toBe("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
});
