/**
 * The convention of guides: every block of code is run, or says why not. What stands behind the fence decides:
 *
 *   ```ts                     a program, marked `// example` as in a README
 *   ```sh                     commands, run by sh with `flashwick` on the path; a line `# -> text` must be part of what is printed
 *   ```sh serves: <url>       commands that go on: they run until the next block of this kind, or the end of the page, and the URL answers meanwhile
 *   ```sh serves: … needs: …  the same, where the machine has a capability
 *   ```<language> file: name  a file: later blocks of the page find it under this name
 *   ```<language> not run: …  the reason
 *   ```                       a picture, or what a program prints
 *
 * All blocks of a page run in its order, in one folder.
 */
import type { CapabilityName } from "@flashwick/test-capabilities";
import { findBlocks, type MarkdownBlock, promisesOf } from "./markdown-block.js";

export type GuideBlock = MarkdownBlock &
  (
    | { readonly kind: "program" | "commands"; readonly promised: readonly string[] }
    | {
        readonly kind: "service";
        readonly url: string;
        readonly needs: CapabilityName | null;
        readonly promised: readonly string[];
      }
    | { readonly kind: "file"; readonly fileName: string }
    | { readonly kind: "reason" | "text" | "unmarked" }
  );

/** The blocks of a guide, in order. `unmarked` ones break the convention. */
export function findGuideBlocks(markdown: string): GuideBlock[] {
  return findBlocks(markdown).map((block) => ({ ...block, ...kindOf(block) }));
}

function kindOf({ language, note, code }: MarkdownBlock) {
  const [, fileName] = /^file: (\S+)$/.exec(note) ?? [];
  if (fileName !== undefined) return { kind: "file", fileName } as const;
  const [, url, needs = null] = /^serves: (\S+)(?: needs: (\S+))?$/.exec(note) ?? [];
  if (url !== undefined && language === "sh")
    return { kind: "service", url, needs: needs as CapabilityName | null, promised: promisesOf(code) } as const;
  if (/^not run: \S/.test(note)) return { kind: "reason" } as const;
  if (language === "") return { kind: "text" } as const;
  if (language === "sh" && note === "") return { kind: "commands", promised: promisesOf(code) } as const;
  if (language === "ts" && code.startsWith("// example\n"))
    return { kind: "program", promised: promisesOf(code) } as const;
  return { kind: "unmarked" } as const;
}
