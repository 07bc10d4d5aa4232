/** `flashwick doctor`: what it looks at, what it says of what is missing, and when it fails. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GiB } from "@flashwick/core";
import { devicePreset } from "@flashwick/cost-model";
import { Arena, type TrainingKernels } from "@flashwick/kernels";
import { CONFORMANCE_ARENA_BYTES, conformanceCases } from "@flashwick/kernels/conformance";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checksOf } from "./doctor/disk-checks.js";
import { selfTests } from "./doctor/kernel-checks.js";
import { memoryCheck, memoryLimitCheck, nodeCheck, threadsCheck } from "./doctor/machine-checks.js";
import { flashwick, flashwickJson } from "./tiny-checkpoint.fixture.js";

const signal = new AbortController().signal;
let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "flashwick-doctor-"));
});
afterAll(() => rmSync(dir, { recursive: true }));

interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly found: string;
  readonly brings: string;
}

describe("doctor", () => {
  it("looks at the machine, at the disk under a folder, and at each kernel, and leaves nothing behind", async () => {
    const { status, document } = await flashwickJson(["doctor", dir]);
    expect(status).toBe(0);
    expect(Object.keys(document)).toEqual(["checks"]);
    const checks = document.checks as readonly Check[];
    const names = checks.map(({ name }) => name);
    const machine = ["Node", "threads", "SIMD", "relaxed SIMD", "GPU", "memory", "memory limit"];
    expect(names).toEqual(expect.arrayContaining([...machine, "disk space", "direct I/O", "io mode", "disk speed"]));
    expect(new Set(names).size).toBe(names.length);
    for (const { found, brings } of checks) expect([found, brings]).not.toContain("");
    const ops = new Set(conformanceCases.map(({ op }) => `kernel ${op}`));
    expect(names).toEqual(expect.arrayContaining([...ops]));
    expect(readdirSync(dir)).toEqual([]);
  });
  it("tells a person what each missing piece would bring", async () => {
    const { out } = await flashwick(["doctor", dir]);
    expect(out).toMatch(/^yes {2}SIMD/m);
    expect(out).toMatch(/\d+ of \d+ kernels compute what they must/);
    for (const [, name] of out.matchAll(/^no {3}(\S.*?) {2,}/gm)) expect(out).toContain(`${name} would bring`);
  });
  it.each([
    ["that is not there", "none", "found nothing"],
    ["that is a file", "file", "found a file"],
  ])("refuses a folder %s", async (_, name, message) => {
    writeFileSync(join(dir, "file"), "");
    const { status, document } = await flashwickJson(["doctor", join(dir, name)]);
    rmSync(join(dir, "file"));
    expect([status, document.error.code]).toEqual([1, "INPUT_INVALID"]);
    expect(document.error.message).toContain(message);
  });
});

describe("self-tests", () => {
  const kernels = () => createWasmKernels(new Arena(2 * CONFORMANCE_ARENA_BYTES));
  /** One op gives what `spoil` makes of it. */
  const broken = (spoil: (kernels: TrainingKernels) => Partial<TrainingKernels>): TrainingKernels => {
    const right = kernels();
    const wrong = spoil(right);
    return new Proxy(right, {
      get: (target, name) => Reflect.get(name in wrong ? wrong : target, name, target),
    });
  };
  const cases = conformanceCases.filter(({ op }) => op === "crc32c" || op === "rmsNorm");

  it("pass where kernels compute what they must", async () => {
    const checks = await selfTests(kernels(), cases, signal);
    expect(checks.map(({ name, ok }) => [name, ok])).toEqual([
      ["kernel rmsNorm", true],
      ["kernel crc32c", true],
    ]);
  });
  it("fail where one computes something else, and say in which case", async () => {
    const checks = await selfTests(
      broken(({ crc32c }) => ({ crc32c: (...of) => crc32c(...of) ^ 1 })),
      cases,
      signal,
    );
    expect(checks.map(({ ok }) => ok)).toEqual([true, false]);
    expect(checks[1]!.found).toMatch(/^5 of 5 cases are wrong: crc32c/i);
  });
  it("fail where one traps", async () => {
    const trap = () => {
      throw new WebAssembly.RuntimeError("unreachable");
    };
    const checks = await selfTests(
      broken(() => ({ rmsNorm: trap })),
      cases,
      signal,
    );
    expect(checks[0]).toMatchObject({ ok: false, found: expect.stringContaining("unreachable") });
  });
  it("stop when nobody waits for them any more, with the signal's own reason", async () => {
    const reason = new Error("enough");
    await expect(selfTests(kernels(), cases, AbortSignal.abort(reason))).rejects.toBe(reason);
  });
});

describe("checks", () => {
  it("of Node know the oldest that works", () => {
    expect(["20.18.3", "20.19.0", "24.1.0", "18.20.0"].map((version) => nodeCheck(version).ok)).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });
  it("of threads want two cores and shared memory", () => {
    expect([threadsCheck(2, true), threadsCheck(1, true), threadsCheck(8, false)].map(({ ok }) => ok)).toEqual([
      true,
      false,
      false,
    ]);
  });
  it("of memory tell a control group's limit from the machine", () => {
    expect(memoryCheck(1).ok).toBe(false);
    expect(memoryCheck(4 * GiB).ok).toBe(true);
    expect(memoryLimitCheck(2 * GiB, 16 * GiB).found).toMatch(/^2\.00 GiB, of the process's control group/);
    expect(memoryLimitCheck(2 ** 63, 16 * GiB).found).toMatch(/^none but the machine's 16\.0 GiB/);
    expect(memoryLimitCheck(0, 16 * GiB).found).toMatch(/^none/);
  });
  it("of a disk that refuses direct reads say what these would bring", () => {
    const { flash, ...rest } = devicePreset("sata-ssd");
    const checks = checksOf({ ...rest, flash: { ...flash, mode: "buffered" } });
    expect(checks.find(({ name }) => name === "direct I/O")).toMatchObject({
      ok: false,
      brings: expect.stringContaining("past the page cache"),
    });
  });
});
