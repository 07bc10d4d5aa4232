/**
 * The public API of each package, as API Extractor writes it from the built declarations, beside the report that was reviewed: `<package>/api/<entry>.api.md`. A
 * change of either shows here, and in the diff of whoever makes it. `npx -y pnpm@10.34.9 api:update` writes the reports anew.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { capability } from "@flashwick/test-capabilities";
import { describe, expect, it } from "vitest";
import { apiReports, reportPath } from "./api-reports.js";
import { publicPackages, root } from "./public-packages.js";

const unbuilt = publicPackages.find(({ folder }) => !existsSync(join(root, folder, "dist")));
const build = capability("build", unbuilt ? `${unbuilt.folder}/dist is not there; run build` : null);

describe.skipIf(build.isMissing)(build.title("the API"), () => {
  const reports = build.isMissing ? [] : apiReports();

  it.each(reports)("of $entry is the one that was reviewed", async ({ path, text }) => {
    await expect(text).toMatchFileSnapshot(join(root, path));
  });

  it("has no report of an entry that is not there", () => {
    const found = publicPackages.flatMap(({ folder }) => {
      const api = join(root, folder, "api");
      return existsSync(api) ? readdirSync(api).map((file) => `${folder}/api/${file}`) : [];
    });
    expect(found.filter((path) => !reports.some((report) => report.path === path))).toEqual([]);
  });
});

it("a report is named after its entry", () => {
  expect(reportPath("packages/core", "@flashwick/core", "@flashwick/core")).toBe("packages/core/api/index.api.md");
  expect(reportPath("packages/runtime", "@flashwick/runtime", "@flashwick/runtime/node/estimate")).toBe(
    "packages/runtime/api/node-estimate.api.md",
  );
});
