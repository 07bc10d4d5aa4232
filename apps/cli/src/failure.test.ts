import { FormatError } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { describeFailure, printFailure, UsageError } from "./failure.js";
import { NO_INPUT } from "./terminal-input.fixture.js";

const idle = new AbortController().signal;

function printed(error: unknown, flags: { json?: boolean; debug?: boolean }) {
  let out = "";
  let err = "";
  const terminal = {
    out: { isTty: false, columns: 80, write: (text: string) => void (out += text) },
    err: { isTty: false, columns: 80, write: (text: string) => void (err += text) },
    env: {},
    signal: idle,
    clock: () => 0,
    peakRssBytes: () => 0,
    ...NO_INPUT,
  };
  printFailure(
    describeFailure(error, idle)!,
    error,
    { json: false, debug: false, ...flags },
    "flashwick run --help",
    terminal,
  );
  return { out, err };
}

describe("failures", () => {
  it("keep code and details of a typed error, with status 1", () => {
    const error = new FormatError("FORMAT_NOT_GGUF", "x.gguf @ 0: no GGUF", { details: { offset: 0 } });
    expect(describeFailure(error, idle)).toEqual({
      exitStatus: 1,
      code: "FORMAT_NOT_GGUF",
      message: "x.gguf @ 0: no GGUF",
      details: { offset: 0 },
    });
    expect(JSON.parse(printed(error, { json: true }).out)).toEqual({
      error: { code: "FORMAT_NOT_GGUF", message: "x.gguf @ 0: no GGUF", details: { offset: 0 } },
    });
    expect(printed(error, {})).toEqual({ out: "", err: "flashwick: x.gguf @ 0: no GGUF\n" });
  });
  it("are 130 after an abort, whichever error carried it", () => {
    const aborted = AbortSignal.abort();
    expect(describeFailure(aborted.reason, aborted)?.exitStatus).toBe(130);
    expect(describeFailure(new DOMException("stopped", "AbortError"), aborted)?.exitStatus).toBe(130);
    expect(describeFailure(new Error("disk on fire"), aborted)?.exitStatus).toBe(1);
  });
  it("are 2 for wrong usage", () => {
    expect(describeFailure(new UsageError("both"), idle)).toMatchObject({ exitStatus: 2, code: "USAGE" });
    expect(printed(new UsageError("both"), {})).toEqual({
      out: "",
      err: "flashwick: both\nSee flashwick run --help\n",
    });
  });
  it("show a stack with --debug only", () => {
    const error = new Error("odd", { cause: new TypeError("deep") });
    expect(printed(error, {}).err).toBe("flashwick: odd\n");
    expect(printed(error, { debug: true }).err).toMatch(/at .*failure\.test[\s\S]*caused by TypeError: deep/);
  });
});
