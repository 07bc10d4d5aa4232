import { defineConfig } from "vitest/config";

export default defineConfig({
  // Tests run on the sources of every package, so that a stale build can never pass or fail one.
  resolve: { conditions: ["flashwick-source", "node", "import", "default"] },
  ssr: { resolve: { conditions: ["flashwick-source", "node", "import", "default"] } },
  test: {
    include: ["packages/*/src/**/*.test.ts", "apps/*/src/**/*.test.ts", "tools/*/src/**/*.test.ts"],
    testTimeout: 60_000,
    maxWorkers: 2,
  },
});
