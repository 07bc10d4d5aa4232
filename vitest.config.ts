import { defineConfig } from "vitest/config";
import { neededCapabilities, requiredCapabilities } from "./packages/test-capabilities/src/capability.js";
import { VerdictReporter } from "./tools/test-report/src/verdict-reporter.js";

const { FLASHWICK_TEST_COUNTS: countsFile } = process.env;

const verdict = new VerdictReporter({
  required: requiredCapabilities(),
  neededBy: neededCapabilities,
  countsFile: countsFile ?? null,
});

export default defineConfig({
  // Tests run on the sources of every package, so that a stale build can never pass or fail one.
  resolve: { conditions: ["flashwick-source", "node", "import", "default"] },
  ssr: { resolve: { conditions: ["flashwick-source", "node", "import", "default"] } },
  test: {
    include: ["packages/*/src/**/*.test.ts", "apps/*/src/**/*.test.ts", "tools/*/src/**/*.test.ts"],
    // A test that asserts nothing cannot fail.
    // Nor does a test say how long something may take: these time-outs tell a hang.
    expect: { requireAssertions: true, poll: { timeout: 60_000 } },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    reporters: ["default", verdict],
  },
});
