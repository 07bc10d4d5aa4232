// @ts-check
/**
 * Gives typedoc's project the form of this repository: pages have the title of their first heading and a group, modules have the name that an import
 * has, and each package's README stands on the page of its root. Links to a README or to its folder lead there.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Comment, CommentTag, Converter, MinimalSourceFile, ReflectionKind } from "typedoc";

/**
 * @param {import("typedoc").Application} app @param {string} root
 * @param {readonly import("./site-options.mjs").ApiModule[]} modules @param {readonly import("./site-options.mjs").SitePage[]} pages
 */
export function arrangeSite(app, root, modules, pages) {
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    if (reflection.kind !== ReflectionKind.Module) return;
    const source = context.getSymbolFromReflection(reflection)?.declarations?.[0]?.getSourceFile().fileName;
    const found = modules.find(({ entry }) => source === join(root, entry));
    if (found) reflection.name = found.name;
  });
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const module of project.children ?? []) arrangeModule(app, root, modules, project, module);
    for (const document of project.documents ?? []) arrangePage(root, pages, project, document);
  });
}

/**
 * @param {import("typedoc").Application} app @param {string} root @param {readonly import("./site-options.mjs").ApiModule[]} modules
 * @param {import("typedoc").ProjectReflection} project @param {import("typedoc").DeclarationReflection} module
 */
function arrangeModule(app, root, modules, project, module) {
  module.comment ??= new Comment();
  module.comment.blockTags.push(new CommentTag("@group", [{ kind: "text", text: "Packages" }]));
  const found = modules.find(({ name }) => name === module.name);
  if (!found || module.name.split("/").length > 2) return;
  const path = join(root, found.folder, "README.md");
  if (!existsSync(path)) return;
  // The page has the module's name for a title already.
  const text = readFileSync(path, "utf8").replace(/^# .*\n/, "");
  const { content } = app.converter.parseRawComment(
    new MinimalSourceFile(text, /** @type {any} */ (path)),
    project.files,
  );
  module.readme = content;
  project.files.registerReflectionPath(/** @type {any} */ (path), module);
  project.files.registerReflectionPath(/** @type {any} */ (dirname(path)), module);
}

/**
 * @param {string} root @param {readonly import("./site-options.mjs").SitePage[]} pages
 * @param {import("typedoc").ProjectReflection} project @param {import("typedoc").DocumentReflection} document
 */
function arrangePage(root, pages, project, document) {
  const path = project.files.getReflectionPath(document);
  const page = pages.find((one) => join(root, one.path) === path);
  if (!page || path === undefined) return;
  document.frontmatter.group = page.group;
  document.name = titleOf(readFileSync(path, "utf8"), page.path);
  if (path.endsWith("/README.md")) project.files.registerReflectionPath(/** @type {any} */ (dirname(path)), document);
}

/** @param {string} text @param {string} path */
function titleOf(text, path) {
  const [, title] = /^# (.*)$/m.exec(text) ?? [];
  if (title === undefined) throw new Error(`${path}: expected a first line "# title"`);
  return title.replaceAll("`", "");
}
