/** Type-checks example files against the sources of the packages. */
import { resolve } from "node:path";
import ts from "typescript";

/**
 * @param root  Folder of the repository's tsconfig.json.
 * @param paths The examples; errors elsewhere are not reported.
 * @returns One line an error, by example.
 * Cost: parses everything that the examples reach, some seconds; hence once for all of them.
 */
export function typeErrors(root: string, paths: readonly string[]): Map<string, string[]> {
  const config = ts.readConfigFile(resolve(root, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.convertCompilerOptionsFromJson(config.config.compilerOptions, root);
  const program = ts.createProgram(paths, {
    ...options,
    noUnusedLocals: false,
    types: ["node"],
    typeRoots: [resolve(root, "node_modules/@types")],
  });
  return new Map(
    paths.map((path) => {
      const source = program.getSourceFile(path)!;
      const diagnostics = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
      return [path, diagnostics.map((one) => describe(one, source))];
    }),
  );
}

function describe({ start = 0, messageText }: ts.Diagnostic, source: ts.SourceFile): string {
  const line = source.getLineAndCharacterOfPosition(start).line + 1;
  return `line ${line} of the example: ${ts.flattenDiagnosticMessageText(messageText, " ")}`;
}
