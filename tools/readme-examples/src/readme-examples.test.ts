import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { brokenPromises, findExampleBlocks } from "./example-block.js";
import { prepareFolder, removeFolder } from "./example-folder.js";
import { runProgram } from "./example-run.js";
import { typeErrors } from "./example-types.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
// Here, since the examples' imports resolve from here, and not in node_modules, where TypeScript is not compiled.
const folder = fileURLToPath(new URL("../.examples/readmes", import.meta.url));

const readmes = ["packages", "apps"]
  .filter((kind) => existsSync(join(root, kind)))
  .flatMap((kind) => readdirSync(join(root, kind)).map((id) => `${kind}/${id}/README.md`))
  .concat("README.md")
  .filter((path) => existsSync(join(root, path)));

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const examples = readmes.flatMap((readme) =>
  findExampleBlocks(readFileSync(join(root, readme), "utf8")).map((block) => {
    const path = join(folder, `${readme.replaceAll("/", "-").replace(".md", "")}-${block.line}.ts`);
    writeFileSync(path, `${block.code}export {};\n`);
    return { ...block, path, where: `${readme}:${block.line}` };
  }),
);
const errors = typeErrors(
  root,
  examples.map(({ path }) => path),
);

describe.each(examples)("the example at $where", ({ path, code, promised }) => {
  it("has the types that the packages have", () => {
    expect(errors.get(path)).toEqual([]);
  });
  it("runs, and prints what it promises", async () => {
    const folder = await prepareFolder(code);
    const printed = await runProgram(path, folder).finally(() => removeFolder(folder));
    expect(brokenPromises(promised, printed), `printed: ${JSON.stringify(printed)}`).toEqual([]);
  });
});

it("takes only the blocks that are marked as examples", () => {
  const text = "# A\n```ts\nconst a = 1;\n```\n\n```ts\n// example\nconsole.log(1 + 1); // -> 2\n```\n";
  expect(findExampleBlocks(text)).toEqual([
    { code: "// example\nconsole.log(1 + 1); // -> 2\n", line: 7, promised: ["2"] },
  ]);
});

it("notices a promise that is broken, also by order", () => {
  expect(brokenPromises(["1", "2"], ["1", "x", "2"])).toEqual([]);
  expect(brokenPromises(["2", "1"], ["1", "2"])).toEqual(["1"]);
  expect(brokenPromises(["3"], ["1"])).toEqual(["3"]);
  expect(brokenPromises(["b"], ["abc"], (line, text) => line.includes(text))).toEqual([]);
});

it("notices a call that the packages do not have", () => {
  const path = join(folder, "wrong.ts");
  writeFileSync(path, 'import { formatBytes } from "@flashwick/core";\nformatBytes("many");\n');
  expect(typeErrors(root, [path]).get(path)).toEqual([
    expect.stringMatching(/^line 2 of the example: Argument of type/),
  ]);
});
