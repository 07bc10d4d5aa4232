/** Texts that schedules are made of: few, so that sequences share beginnings and references are computed once. */

/** Token `at` of text `stem`; below the smallest vocabulary of all models. */
export function stemToken(stem: number, at: number): number {
  return 3 + ((at * (31 + 2 * stem) + 7 * stem) % 89);
}

/** The first `length` tokens of a text. */
export function stemOf(stem: number, length: number): number[] {
  return Array.from({ length }, (_, at) => stemToken(stem, at));
}
