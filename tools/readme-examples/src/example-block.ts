/**
 * The convention: a fenced `ts` block whose first line is `// example` is a program. It runs as it stands, in an empty folder;
 * where it names opt-demo.gguf, the folder holds that file. A line that ends in `// -> text` must print that text.
 */

export interface ExampleBlock {
  readonly code: string;
  /** Line of its first line of code in the document, from 1. */
  readonly line: number;
  /** What `// ->` promises, in order. */
  readonly promised: readonly string[];
}

/** The examples of a Markdown document, in order. */
export function findExampleBlocks(markdown: string): ExampleBlock[] {
  const blocks = markdown.matchAll(/^```ts\n(\/\/ example\n[\s\S]*?)^```$/gm);
  return [...blocks].map(({ index, 1: code = "" }) => ({
    code,
    line: markdown.slice(0, index).split("\n").length + 1,
    promised: [...code.matchAll(/\/\/ -> (.*)$/gm)].map(([, text = ""]) => text.trim()),
  }));
}

/** The promised texts that `printed` does not show in this order. */
export function brokenPromises(promised: readonly string[], printed: readonly string[]): string[] {
  let from = 0;
  return promised.filter((text) => {
    const at = printed.indexOf(text, from);
    if (at >= 0) from = at + 1;
    return at < 0;
  });
}
