/**
 * Which documents are held out. Split by document, never by token: neighbouring tokens share most of their active neurons,
 * so a split by token would measure memory.
 */
import { trainerRandom } from "./random.js";

/** One document in twenty is held out (lessons: 95/5). */
export const HELD_OUT_PERIOD = 20;

/**
 * True if a document is held out: one of every `period` consecutive documents, at random within each such group. Of the
 * first group it is the first document, so that there is always one. Decided by the document's number alone: a recorder
 * need not know how many will come.
 *
 * @param document 0, 1, 2, … in the order of recording.
 */
export function isHeldOut(document: number, seed: number, period = HELD_OUT_PERIOD): boolean {
  const group = Math.floor(document / period);
  const chosen = group === 0 ? 0 : trainerRandom("split", seed, group).below(period);
  return document % period === chosen;
}
