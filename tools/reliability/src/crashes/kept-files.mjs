// @ts-check
/** Keeps what the engine keeps beside its models, with nothing of the engine around it: `node kept-files.mjs prefixes|profile|tuning <folder>`. */

import { keepTuning } from "@flashwick/flash-io/node";
import { keepProfile, openPrefixFolder } from "@flashwick/runtime/node";

const [, , what, folder = ""] = process.argv;
const PAGE_BYTES = 20_000;

if (what === "prefixes") {
  // Five fit, and an older one is there already: the last one removes it.
  const store = await openPrefixFolder(folder, { maxBytes: 5.5 * PAGE_BYTES, onError: report }).catch(report);
  for (const [i, letter] of store ? [..."abcde"].entries() : []) {
    const page = Uint8Array.from({ length: PAGE_BYTES }, (_, at) => (at * (i + 3)) % 251);
    const kept = await store.read(letter.repeat(64), PAGE_BYTES);
    if (kept !== null && Buffer.compare(kept, page) !== 0) throw new Error(`page ${letter} is another one`);
    if (kept === null) await store.write(letter.repeat(64), page);
  }
} else if (what === "profile") {
  const profile = { schemaVersion: 2, name: "a device" };
  keepProfile(folder, /** @type {never} */ (profile), new Date(0), folder, "host");
} else {
  const tuning = { queueDepth: 8, mergeGapBytes: 4096 };
  keepTuning({ device: "1", host: "host", folder }, /** @type {never} */ (tuning), new Date(0));
}

/** @param {Error & { code?: string }} error @returns {undefined} */
function report({ code, message }) {
  process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
  process.exitCode = 1;
  return undefined;
}
