/**
 * Ends a test run with one plain line of counts, after what was skipped and why. Fails a run that left out what
 * `FLASHWICK_REQUIRE` names. `FLASHWICK_TEST_COUNTS` is a file that gets the line, too.
 */
import { writeFileSync } from "node:fs";
import type { Reporter, TestCase, TestModule, TestSuite, Vitest } from "vitest/node";
import { judgeRun, type TestOutcome, type VerdictRequest } from "./run-verdict.js";

export interface VerdictReporterOptions extends Pick<VerdictRequest, "required" | "neededBy"> {
  /** Where the line of counts is written, beside standard output; null: nowhere. */
  readonly countsFile: string | null;
}

/** A skip that is told on the console, at most: one group of tests may have hundreds. */
const SKIPS_SHOWN = 20;

export class VerdictReporter implements Reporter {
  readonly #options: VerdictReporterOptions;
  /** With `-t`, what was skipped is what nobody asked for. */
  #isFiltered = false;

  constructor(options: VerdictReporterOptions) {
    this.#options = options;
  }

  onInit(vitest: Vitest): void {
    this.#isFiltered = vitest.config.testNamePattern !== undefined;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const { required, neededBy, countsFile } = this.#options;
    const { counts, skipped, complaints } = judgeRun({
      outcomes: modules.flatMap((module) => [...module.children.allTests()].map(outcomeOf)),
      failuresOutsideTests: modules.reduce((sum, module) => sum + failuresOutside(module), unhandledErrors.length),
      required,
      neededBy,
    });
    if (skipped.length > 0 && !this.#isFiltered) console.log(`\nSkipped:\n${shortened(skipped)}`);
    if (complaints.length > 0) {
      console.error(`\nRefused, with FLASHWICK_REQUIRE=${required.join(",")}:\n${shortened(complaints)}`);
      process.exitCode = 1;
    }
    console.log(counts);
    if (countsFile !== null) writeFileSync(countsFile, `${counts}\n`);
  }
}

function outcomeOf(test: TestCase): TestOutcome {
  const result = test.result();
  return {
    title: `${test.module.relativeModuleId} > ${test.fullName}`,
    // A test that never got to its turn, because a hook before it failed, is pending.
    state: result.state === "pending" ? "skipped" : result.state,
    note: result.state === "skipped" ? (result.note ?? null) : null,
  };
}

/** Errors of imports and hooks: of the file itself, and of its groups of tests. */
function failuresOutside(module: TestModule): number {
  const broken = (group: TestModule | TestSuite) => (group.errors().length > 0 ? 1 : 0);
  return [...module.children.allSuites()].reduce((sum, suite) => sum + broken(suite), broken(module));
}

function shortened(lines: readonly string[]): string {
  const more = lines.length > SKIPS_SHOWN ? [`… and ${lines.length - SKIPS_SHOWN} more`] : [];
  return [...lines.slice(0, SKIPS_SHOWN), ...more].map((line) => `  ${line}`).join("\n");
}
