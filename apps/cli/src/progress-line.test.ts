import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { progressLine } from "./progress-line.js";
import { NO_INPUT } from "./terminal-input.fixture.js";

const MiB = 1024 * 1024;
/** Back to the line's begin, and nothing left on it: what a cleared bar leaves. */
const CLEARED = "\x1b[1G\x1b[2K";

// The bar's library looks at the system's clock.
beforeEach(() => vi.useFakeTimers({ now: 0 }));
afterEach(() => vi.useRealTimers());

function progress(isTty: boolean, env: Record<string, string> = {}, columns = 100) {
  let text = "";
  const err = { isTty, columns, write: (more: string) => void (text += more) };
  const terminal = {
    out: err,
    err,
    env,
    signal: new AbortController().signal,
    clock: () => Date.now(),
    peakRssBytes: () => 0,
    ...NO_INPUT,
  };
  const line = progressLine(terminal);
  return {
    line,
    at(ms: number, loaded: number, phase = "verify") {
      vi.setSystemTime(ms);
      text = "";
      line.onProgress({ phase, loaded, total: 4 * MiB, unit: "bytes", detail: "blk.0.attn_q.weight" });
      return text;
    },
    get text() {
      return text;
    },
  };
}

describe("a bar, on a terminal", () => {
  it("is drawn at once, no wider than the terminal, and is taken away", () => {
    const screen = progress(true, {}, 60);
    const drawn = screen.at(0, MiB);
    expect(drawn).toMatch(/█{6}░{18} {2}25 % verify: 1\.00 MiB of/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what moves the cursor takes no room
    expect(drawn.replace(/\x1b(\[[\d;]*[A-Za-z]|[78])/g, "").length).toBeLessThanOrEqual(60);
    screen.line.clear();
    expect(screen.text.endsWith(CLEARED)).toBe(true);
    // A bar that is gone stays away.
    vi.advanceTimersByTime(5000);
    expect(screen.text.endsWith(CLEARED)).toBe(true);
  });
  it("redraws now and then, with the rate and the time that is left", () => {
    const screen = progress(true);
    screen.at(0, 0);
    expect(screen.at(10, MiB / 2)).toBe("");
    for (let ms = 250; ms < 2000; ms += 250) screen.at(ms, (MiB * ms) / 2000);
    expect(screen.at(2000, MiB)).toContain(" 25 % verify: 1.00 MiB of 4.00 MiB, 512 KiB/s, 6 s left, blk.0.attn_q.");
  });
  it("says no rate before there is one", () => {
    const screen = progress(true);
    screen.at(0, 0);
    expect(screen.at(400, MiB)).not.toContain("/s");
  });
  it("begins anew with each phase, whose rate it has not seen yet", () => {
    const screen = progress(true);
    screen.at(0, 0);
    screen.at(3000, 2 * MiB);
    const next = screen.at(3001, 0, "load");
    expect(next).toContain(CLEARED);
    expect(next).toContain("  0 % load: 0 B of 4.00 MiB");
    expect(next.slice(next.lastIndexOf("load"))).not.toContain("/s");
  });
});

it.each([
  ["a log", false, {}],
  ["a dumb terminal", true, { TERM: "dumb" }],
])("plain lines are written now and then to %s", (_, isTty, env) => {
  const log = progress(isTty, env);
  expect(log.at(0, 1)).toBe("");
  expect(log.at(299, 2)).toBe("");
  expect(log.at(300, 3)).toBe("  0 % verify: 3 B of 4.00 MiB, blk.0.attn_q.weight\n");
  expect(log.at(5299, 4)).toBe("");
  expect(log.at(5300, MiB)).toBe(" 25 % verify: 1.00 MiB of 4.00 MiB, blk.0.attn_q.weight\n");
  log.line.clear();
  expect(log.text).not.toContain("\x1b");
});
