import { describe, expect, it } from "vitest";
import { progressLine } from "./progress-line.js";
import { NO_INPUT } from "./terminal-input.fixture.js";

const CLEAR_LINE = "\r\x1b[2K";

function progress(isTty: boolean, env: Record<string, string> = {}) {
  let text = "";
  let nowMs = 0;
  const err = { isTty, columns: 60, write: (more: string) => void (text += more) };
  const terminal = {
    out: err,
    err,
    env,
    signal: new AbortController().signal,
    clock: () => nowMs,
    peakRssBytes: () => 0,
    ...NO_INPUT,
  };
  const line = progressLine(terminal);
  return {
    line,
    at(ms: number, loaded: number) {
      nowMs = ms;
      text = "";
      line.onProgress({
        phase: "verify",
        loaded,
        total: 4 * 1024 * 1024,
        unit: "bytes",
        detail: "blk.0.attn_q.weight",
      });
      return text;
    },
    get text() {
      return text;
    },
  };
}

describe("progress", () => {
  it("draws a bar on a terminal, no wider than it, and takes it away", () => {
    const screen = progress(true);
    const drawn = screen.at(0, 1024 * 1024);
    expect(drawn.startsWith(CLEAR_LINE)).toBe(true);
    const bar = drawn.slice(CLEAR_LINE.length);
    expect(bar).toMatch(/^█{6}░{18} {2}25 % verify: 1\.00 MiB of/);
    expect(bar.length).toBeLessThan(60);
    expect(screen.at(10, 2 * 1024 * 1024)).toBe("");
    expect(screen.at(100, 2 * 1024 * 1024)).toContain(" 50 % ");
    expect(screen.at(101, 4 * 1024 * 1024)).toContain("100 % ");
    screen.line.clear();
    expect(screen.text.endsWith(CLEAR_LINE)).toBe(true);
  });
  it.each([
    ["a log", false, {}],
    ["a dumb terminal", true, { TERM: "dumb" }],
  ])("writes plain lines now and then to %s", (_, isTty, env) => {
    const log = progress(isTty, env);
    expect(log.at(0, 1)).toBe("");
    expect(log.at(299, 2)).toBe("");
    expect(log.at(300, 3)).toBe("  0 % verify: 3 B of 4.00 MiB, blk.0.attn_q.weight\n");
    expect(log.at(5299, 4)).toBe("");
    expect(log.at(5300, 1024 * 1024)).toBe(" 25 % verify: 1.00 MiB of 4.00 MiB, blk.0.attn_q.weight\n");
    log.line.clear();
    expect(log.text).not.toContain("\x1b");
  });
});
