/**
 * How large packages may be. One that outgrows its budget needs a reason, and a new number here; one that has shrunk below half of it gets a smaller number.
 */

export interface SizeBudget {
  /** The packed package, KiB. */
  readonly tarballKiB: number;
  /** All of the root entry with what it imports, bundled for a page by esbuild, minified, and compressed by gzip, KiB. Null where it is for Node alone. */
  readonly bundleKiB: number | null;
}

/** By package; every one has a budget. */
export const SIZE_BUDGETS: Readonly<Record<string, SizeBudget>> = {
  "@flashwick/core": { tarballKiB: 55, bundleKiB: 8 },
  "@flashwick/cost-model": { tarballKiB: 200, bundleKiB: 30 },
  "@flashwick/demo-models": { tarballKiB: 60_000, bundleKiB: null },
  "@flashwick/dram-cache": { tarballKiB: 115, bundleKiB: 12 },
  "@flashwick/drawings": { tarballKiB: 60, bundleKiB: 5 },
  "@flashwick/flash-format": { tarballKiB: 380, bundleKiB: 50 },
  "@flashwick/flash-io": { tarballKiB: 160, bundleKiB: 2 },
  "@flashwick/hub": { tarballKiB: 60, bundleKiB: 30 },
  "@flashwick/kernels": { tarballKiB: 170, bundleKiB: 2 },
  "@flashwick/kernels-wasm": { tarballKiB: 220, bundleKiB: 80 },
  "@flashwick/kernels-webgpu": { tarballKiB: 70, bundleKiB: 20 },
  // With the rounding and the decoding of 4-bit and 8-bit blocks.
  "@flashwick/predictor": { tarballKiB: 110, bundleKiB: 8 },
  "@flashwick/runtime": { tarballKiB: 600, bundleKiB: 200 },
  "@flashwick/server": { tarballKiB: 120, bundleKiB: null },
  flashwick: { tarballKiB: 300, bundleKiB: null },
};
