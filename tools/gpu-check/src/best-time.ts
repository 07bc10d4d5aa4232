/** How long something takes that a device does, seen from the host. */

/** Something that can be repeated: `run` hands it to the device, `settle` resolves when all of it is done. */
export interface DeviceWork {
  run(): void;
  settle(): Promise<void>;
}

/** Series of runs that are timed, after one that also finds out how many runs a series has. */
const SERIES = 5;
/** A series takes at least so long beside a round trip to the device. */
const LEAST_SERIES_MS = 100;
const ROUND_TRIPS = 20;
const MOST_RUNS = 4096;

/**
 * Milliseconds of one run, the best of several series. A round trip that brings nothing is subtracted from each series.
 *
 * Cost: about {@link SERIES} + 2 series, of 100 ms or of one run, whichever is longer.
 */
export async function bestTimeMs({ run, settle }: DeviceWork): Promise<number> {
  const series = async (runs: number) => {
    const begin = performance.now();
    for (let i = 0; i < runs; i++) run();
    await settle();
    return performance.now() - begin;
  };
  await series(1);
  let emptyMs = Number.POSITIVE_INFINITY;
  for (let i = 0; i < ROUND_TRIPS; i++) emptyMs = Math.min(emptyMs, await series(0));
  let [runs, tookMs] = [1, await series(1)];
  while (tookMs - emptyMs < LEAST_SERIES_MS && runs < MOST_RUNS) {
    runs *= 2;
    tookMs = await series(runs);
  }
  for (let i = 0; i < SERIES; i++) tookMs = Math.min(tookMs, await series(runs));
  // Clocks of browsers and of some machines are coarse: never zero.
  return Math.max(tookMs - emptyMs, 1e-6) / runs;
}
