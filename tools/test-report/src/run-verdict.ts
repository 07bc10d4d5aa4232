/** What a test run amounts to: its counts, what it skipped, and what it should not have left out. */

/** One test of a run. */
export interface TestOutcome {
  /** File and titles, outermost first. */
  readonly title: string;
  readonly state: "passed" | "failed" | "skipped";
  /** Why it skipped itself, if it said so. */
  readonly note: string | null;
}

export interface RunVerdict {
  /** `N passed, N failed, N skipped`; what fails outside of tests counts as failed. */
  readonly counts: string;
  /** Titles and reasons of what was skipped. */
  readonly skipped: readonly string[];
  /** What the run must not be accepted for, though no test failed. */
  readonly complaints: readonly string[];
}

export interface VerdictRequest {
  readonly outcomes: readonly TestOutcome[];
  /** Files and groups of tests that failed outside of a test, and errors that belong to none. */
  readonly failuresOutsideTests: number;
  /** Capabilities of which at least one test must have run, and none been skipped; empty: anything may be skipped. */
  readonly required: readonly string[];
  /** The capabilities that a test's title names. */
  readonly neededBy: (title: string) => readonly string[];
}

/** Pure. */
export function judgeRun({ outcomes, failuresOutsideTests, required, neededBy }: VerdictRequest): RunVerdict {
  const count = (state: TestOutcome["state"]) => outcomes.filter((one) => one.state === state).length;
  const skipped = outcomes.filter(({ state }) => state === "skipped");
  const complaints: string[] = [];
  for (const name of required) {
    const ran = outcomes.some(({ title, state }) => state !== "skipped" && neededBy(title).includes(name));
    if (!ran) complaints.push(`${name} is required, but no test that needs it has run`);
  }
  if (required.length > 0) {
    for (const one of skipped) {
      const needs = neededBy(one.title);
      const refused = needs.filter((name) => required.includes(name));
      if (refused.length > 0)
        complaints.push(`${describeSkip(one)}: skipped, but ${refused.join(" and ")} is required`);
      if (needs.length === 0)
        complaints.push(`${describeSkip(one)}: skipped, and its title names nothing that it needs`);
    }
  }
  return {
    counts: `${count("passed")} passed, ${count("failed") + failuresOutsideTests} failed, ${skipped.length} skipped`,
    skipped: skipped.map(describeSkip),
    complaints,
  };
}

function describeSkip({ title, note }: TestOutcome): string {
  return note === null ? title : `${title} (${note})`;
}
