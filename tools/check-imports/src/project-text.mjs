// @ts-check
/** Text that ties the project to the machine it was written on. */

const PATTERNS = [
  {
    // Not inside a longer path or a URL: `https://example.org/home/` is fine.
    pattern: /(?<![\w.:/-])(?:file:\/\/)?\/(?:work|home|root|Users)\/[\w.-]*/,
    message: "an absolute path of somebody's machine",
  },
  { pattern: /\b[A-Za-z]:\\(?:Users|home)\\/, message: "an absolute path of somebody's machine" },
  {
    pattern: /https?:\/\/[\w.-]*registry[\w.-]*|\b[\w.-]+\.npmjs\.org\b/,
    message: "the address of a package registry",
  },
  {
    pattern: /^\s*tarball:|^\s*(?:@[\w-]+:)?registry\s*=|_auth[T]oken/,
    message: "a setting of one machine's registry",
  },
];

/**
 * @param {readonly { path: string, text: string }[]} texts
 * @returns {import("./rules.mjs").Complaint[]}
 */
export function findTextComplaints(texts) {
  return texts.flatMap(({ path, text }) =>
    PATTERNS.flatMap(({ pattern, message }) => matchingLines(text, pattern).map((line) => ({ path, line, message }))),
  );
}

/** @param {string} text @param {RegExp} pattern @returns {number[]} Lines from 1. */
function matchingLines(text, pattern) {
  // Most files match nothing: one look at the whole is cheaper than a look at every line.
  if (!new RegExp(pattern, "m").test(text)) return [];
  return text.split("\n").flatMap((line, i) => (pattern.test(line) ? [i + 1] : []));
}
