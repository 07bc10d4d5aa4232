// @ts-check
/**
 * Builds the documentation into docs/site, a static site that needs no server: open docs/site/index.html.
 *
 *     node tools/docs-site/build-site.mjs [folder]
 *
 * Fails if a public symbol has no comment, if a link leads nowhere, and on any other warning.
 */
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Application } from "typedoc";
import { brokenLinks } from "./src/broken-links.mjs";
import { siteOptions } from "./src/site-options.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const out = resolve(process.argv[2] ?? join(root, "docs/site"));

const app = await Application.bootstrapWithPlugins(siteOptions(root, out));
const project = await app.convert();
if (project) {
  app.validate(project);
  if (!app.logger.hasErrors()) await app.generateOutputs(project);
}
const broken = project ? brokenLinks(out) : [];
for (const { page, link, reason } of broken) console.error(`${page}: ${link}: ${reason}`);
const { errorCount, warningCount } = app.logger;
const complaints = errorCount + warningCount + broken.length;
if (!project || complaints > 0) {
  console.error(`docs: ${complaints} complaints`);
  process.exitCode = 1;
} else {
  console.log(`docs: open ${join(relative(process.cwd(), out), "index.html")}`);
}
