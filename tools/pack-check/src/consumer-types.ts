/** The public types as a stranger's compiler sees them: every declaration is checked, and no types but the standard library's are there. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";

/** How consumers resolve modules. */
export const RESOLUTIONS = {
  bundler: { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler },
  nodenext: { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext },
} as const;

/**
 * Compiles a module that imports all of `entries`.
 *
 * @param folder A project that has them installed.
 * @returns One line an error, with the file it stands in.
 * Cost: some seconds, most of them for the declarations of the standard library.
 */
export function typeErrors(folder: string, entries: readonly string[], how: keyof typeof RESOLUTIONS): string[] {
  const path = join(folder, `types-by-${how}.ts`);
  const imports = entries.map((entry, i) => `import * as entry${i} from "${entry}";`);
  const names = entries.map((_, i) => `entry${i}`).join(", ");
  writeFileSync(path, `${imports.join("\n")}\nexport const all: readonly object[] = [${names}];\n`);
  const program = ts.createProgram([path], {
    ...RESOLUTIONS[how],
    target: ts.ScriptTarget.ES2022,
    strict: true,
    skipLibCheck: false,
    noEmit: true,
    types: [],
  });
  return ts.getPreEmitDiagnostics(program).map((one) => {
    const where = one.file ? `${one.file.fileName.split("node_modules/").at(-1)}: ` : "";
    return where + ts.flattenDiagnosticMessageText(one.messageText, " ");
  });
}
