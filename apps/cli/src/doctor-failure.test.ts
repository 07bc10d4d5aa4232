/** A kernel that computes something wrong, seen from outside: the command fails, and names it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it, vi } from "vitest";
import { flashwick, flashwickJson } from "./tiny-checkpoint.fixture.js";

vi.mock("@flashwick/kernels-wasm", async (original) => {
  const right = await original<typeof import("@flashwick/kernels-wasm")>();
  const wrong = (arena: Parameters<typeof right.createWasmKernels>[0]) => {
    const kernels = right.createWasmKernels(arena);
    return Object.assign(Object.create(kernels), { crc32c: () => 7 });
  };
  return { ...right, createWasmKernels: Object.assign(wrong, right.createWasmKernels) };
});

const dir = mkdtempSync(join(tmpdir(), "flashwick-doctor-"));
afterAll(() => rmSync(dir, { recursive: true }));

it("doctor exits with 1 where a self-test fails, and says which", async () => {
  const { status, document } = await flashwickJson(["doctor", dir]);
  expect(status).toBe(1);
  const failed = (document.checks as { name: string; ok: boolean }[]).filter(
    ({ name, ok }) => name.startsWith("kernel") && !ok,
  );
  expect(failed.map(({ name }) => name)).toContain("kernel crc32c");
  const { out } = await flashwick(["doctor", dir]);
  expect(out).toMatch(/^no +kernel crc32c +1 of 1 cases are wrong/m);
});
