/** The fenced blocks of a Markdown document. */

export interface MarkdownBlock {
  /** First word behind the fence; empty where there is none. */
  readonly language: string;
  /** What follows it. */
  readonly note: string;
  readonly code: string;
  /** Line of its first line of code in the document, from 1. */
  readonly line: number;
}

/** In order. */
export function findBlocks(markdown: string): MarkdownBlock[] {
  const blocks = markdown.matchAll(/^```([^\s`]*)[ \t]*([^\n`]*)\n([\s\S]*?)^```$/gm);
  return [...blocks].map(({ index, 1: language = "", 2: note = "", 3: code = "" }) => ({
    language,
    note: note.trim(),
    code,
    line: markdown.slice(0, index).split("\n").length + 1,
  }));
}

/** The texts that `// ->` (in shell `# ->`) promises, in order. */
export function promisesOf(code: string): string[] {
  return [...code.matchAll(/(?:\/\/|#) -> (.*)$/gm)].map(([, text = ""]) => text.trim());
}
