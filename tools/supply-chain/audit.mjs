// @ts-check
/**
 * Asks the registry which installed versions have known faults. Ends with 1 if a published package brings one, with 0 where the registry does not answer:
 * then it says that nothing was looked at.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { packageManager } = JSON.parse(readFileSync(new URL("package.json", `file://${root}`), "utf8"));

/** @param {string[]} args @returns {any} Null where there is no answer. */
function audit(args) {
  const { stdout } = spawnSync("npx", ["-y", packageManager, "audit", "--json", ...args], {
    cwd: root,
    encoding: "utf8",
    timeout: 120_000,
  });
  try {
    const answer = JSON.parse(stdout);
    return answer.metadata?.vulnerabilities ? answer : null;
  } catch {
    return null;
  }
}

/** @param {string} what @param {any} answer @returns {number} Faults. */
function report(what, { metadata, advisories }) {
  const counts = Object.entries(metadata.vulnerabilities);
  const faults = counts.reduce((sum, [, count]) => sum + Number(count), 0);
  console.log(`${what}: ${faults} known faults in ${metadata.totalDependencies ?? metadata.dependencies} packages`);
  for (const { module_name: name, severity, title, url } of Object.values(advisories ?? {}))
    console.log(`  ${severity}: ${name}: ${title} (${url})`);
  return faults;
}

const production = audit(["--prod"]);
if (production === null) {
  console.log("skipped: the registry does not answer audits from here; nothing was looked at");
} else {
  const faults = report("published packages", production);
  const all = audit([]);
  if (all !== null) report("with tools and tests", all);
  process.exitCode = faults > 0 ? 1 : 0;
}
