import { expect, it } from "vitest";

// By address: the script is JavaScript, which TypeScript does not look into.
const { losslessShare, passes, readAtKl } = await import(new URL("./sparsity-gates.mjs", import.meta.url).href);

it("what fails one gate of three fails", () => {
  const good = { kl: 0.05, top1: 0.9, nll_rise: 0.05 };
  expect(passes(good)).toBe(true);
  for (const worse of [{ kl: 0.051 }, { top1: 0.899 }, { nll_rise: 0.051 }]) {
    expect(passes({ ...good, ...worse })).toBe(false);
  }
});

it("drafts that are always accepted share one dense step among most tokens, and drafts that never are cost nothing", () => {
  expect(losslessShare({ top1: 1, flash_share: 0 }, 0.51)).toBeCloseTo(0.51 / 17, 12);
  expect(losslessShare({ top1: 0, flash_share: 0.2 }, 0.5)).toBe(0.5);
  // One draft, accepted in nine of ten: (0.1 + 0.5) / 1.9; two: (0.2 + 0.5) / 2.71; three: (0.3 + 0.5) / 3.439; …
  expect(losslessShare({ top1: 0.9, flash_share: 0.1 }, 0.5)).toBeLessThan(0.8 / 3.439);
});

it("what is read at a KL lies on the line between logarithms, and of caches and curves apart", () => {
  const row = (curve: string, cache_share: number, kl: number, share: number) => {
    return { curve, cache_share, kl, read_share: share, flash_share: share / 2 };
  };
  const rows = [row("dip", 0.5, 0.1, 0.6), row("dip", 0.5, 0.025, 0.8), row("dip", 0.7, 0.1, 0.6), row("", 0.5, 0, 1)];
  const [point, ...others] = readAtKl(rows, 0.05);
  expect(point).toMatchObject({ curve: "dip", cache_share: 0.5 });
  expect(point.read_share).toBeCloseTo(0.7, 12);
  expect(point.flash_share).toBeCloseTo(0.35, 12);
  // One point makes no line.
  expect(others).toEqual([]);
});
