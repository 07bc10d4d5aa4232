/** What publint and are-the-types-wrong say of a tarball. */
import { checkPackage, createPackageFromTarballData, type Problem } from "@arethetypeswrong/core";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import type { Tarball } from "./tarballs.js";

/** Everything that publint remarks, suggestions included. */
export async function publintRemarks({ bytes, manifest }: Tarball): Promise<string[]> {
  const { messages } = await publint({ pack: { tarball: bytes.buffer }, level: "suggestion", strict: true });
  return messages.map((message) => `${message.type}: ${formatMessage(message, manifest) ?? message.code}`);
}

/**
 * What resolvers of types find wrong.
 *
 * The packages are ESM alone, which is the profile `esm-only` of are-the-types-wrong: its problems under `node10`, which knows no `exports`, and under
 * `node16` from a CommonJS file are none, since there `require(esm)` gives the same module as `import`.
 */
export async function typeProblems({ bytes }: Tarball): Promise<string[]> {
  const result = await checkPackage(createPackageFromTarballData(bytes), { excludeEntrypoints: [/\.css$/] });
  if (result.types === false) return [];
  return result.problems.filter((problem) => !isOfOtherProfile(problem)).map((problem) => JSON.stringify(problem));
}

function isOfOtherProfile(problem: Problem): boolean {
  if ("resolutionKind" in problem)
    return problem.resolutionKind === "node10" || problem.resolutionKind === "node16-cjs";
  return false;
}
