/**
 * A run beside its prediction, on a machine that others use: it is profiled anew before and after, and a run during which other processes took more than
 * a tenth of the machine, or between whose profiles the device changed by more than 15 %, is made again, four times at most.
 */
import { quickProfile } from "./predicted-run.mjs";

const MOST_OTHERS = 0.1;
/** Predictions from the profiles before and after a run differ by so much at most: else the device was not the same device. */
const MOST_CHANGE = 0.15;
const ATTEMPTS = 4;

/**
 * @param file      On the device that is profiled.
 * @param profile   Measures the device under a file. Default: in this process.
 * @param run       Makes the run as a profile plans it: { others, predict(profile), … }.
 * @param tokenMs   Of a prediction.
 * @param row       What a table says of a run and its two predictions, by the profile before and the one after.
 * @param onAttempt Hears of each attempt's row.
 * @returns The row of the first undisturbed attempt, or of the last, with how disturbed it was.
 */
export async function undisturbedRun(file, { profile: measure = quickProfile, run, tokenMs, row, onAttempt }) {
  let profile = await measure(file);
  for (let attempt = 1; ; attempt++) {
    const made = await run(profile);
    const after = await measure(file);
    const predictions = [profile, after].map(made.predict);
    const [a, b] = predictions.map(tokenMs);
    const disturbed = { others_share: made.others, device_change: Math.abs(a - b) / ((a + b) / 2), attempt };
    const found = { ...row(made, predictions), ...disturbed };
    onAttempt(found);
    if (found.others_share <= MOST_OTHERS && found.device_change <= MOST_CHANGE) return found;
    if (attempt === ATTEMPTS) return found;
    profile = after;
  }
}
