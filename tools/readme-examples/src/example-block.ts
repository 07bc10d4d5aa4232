/**
 * The convention of READMEs: a fenced `ts` block whose first line is `// example` is a program. It runs as it stands, in a folder that
 * holds the files that it names (example-folder.ts). A line that ends in `// -> text` must print that text.
 */
import { findBlocks, promisesOf } from "./markdown-block.js";

export interface ExampleBlock {
  readonly code: string;
  /** Line of its first line of code in the document, from 1. */
  readonly line: number;
  /** What `// ->` promises, in order. */
  readonly promised: readonly string[];
}

/** The examples of a Markdown document, in order. */
export function findExampleBlocks(markdown: string): ExampleBlock[] {
  return findBlocks(markdown)
    .filter(({ language, code }) => language === "ts" && code.startsWith("// example\n"))
    .map(({ code, line }) => ({ code, line, promised: promisesOf(code) }));
}

/** The promised texts that `printed` does not show in this order. */
export function brokenPromises(
  promised: readonly string[],
  printed: readonly string[],
  keeps = (line: string, text: string) => line === text,
): string[] {
  let from = 0;
  return promised.filter((text) => {
    const at = printed.findIndex((line, i) => i >= from && keeps(line, text));
    if (at >= 0) from = at + 1;
    return at < 0;
  });
}
