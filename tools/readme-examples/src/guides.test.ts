/** Every block of code in the guides runs, page by page and in the order of the page; programs have the types that the packages have. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { capability } from "@flashwick/test-capabilities";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { brokenPromises } from "./example-block.js";
import { prepareFolder, removeFolder } from "./example-folder.js";
import { runProgram } from "./example-run.js";
import { typeErrors } from "./example-types.js";
import { findGuideBlocks } from "./guide-block.js";
import { runCommands, shellMissing } from "./shell-run.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const guidesFolder = join(root, "docs/guides");
// Here, since the programs' imports resolve from here.
const programs = fileURLToPath(new URL("../.examples/guides", import.meta.url));
const build = capability("build", shellMissing());
/** Some commands train. */
const COMMANDS_TIMEOUT_MS = 300_000;

rmSync(programs, { recursive: true, force: true });
mkdirSync(programs, { recursive: true });
const guides = readdirSync(guidesFolder)
  .filter((name) => name.endsWith(".md"))
  .map((name) => {
    const text = readFileSync(join(guidesFolder, name), "utf8");
    const blocks = findGuideBlocks(text).map((block) => {
      const path = join(programs, `${name.replace(".md", "")}-${block.line}.ts`);
      const isProgram = block.kind === "program" || (block.kind === "file" && block.language === "ts");
      if (isProgram) writeFileSync(path, `${block.code}export {};\n`);
      return { ...block, path, isProgram };
    });
    return { name, text, blocks };
  });
const errors = typeErrors(
  root,
  guides.flatMap(({ blocks }) => blocks.filter(({ isProgram }) => isProgram).map(({ path }) => path)),
);

describe.each(guides.map((guide) => [guide.name, guide] as const))("docs/guides/%s", (_, { text, blocks }) => {
  let folder: string;
  beforeAll(async () => {
    folder = await prepareFolder(text);
  });
  afterAll(() => removeFolder(folder));

  it("has no block that neither runs nor says why not", () => {
    expect(blocks.filter(({ kind }) => kind === "unmarked").map(({ line }) => `line ${line}`)).toEqual([]);
  });

  for (const block of blocks) {
    const where = `the ${block.language} block at line ${block.line}`;
    if (block.isProgram)
      it(`${where} has the types that the packages have`, () => {
        expect(errors.get(block.path)).toEqual([]);
      });
    if (block.kind === "file") {
      // Not in a test of its own: later blocks need it.
      beforeAll(() => writeFileSync(join(folder, block.fileName), block.code));
    }
    if (block.kind === "program")
      it(`${where} runs, and prints what it promises`, async () => {
        const printed = await runProgram(block.path, folder);
        expect(brokenPromises(block.promised, printed), `printed: ${JSON.stringify(printed)}`).toEqual([]);
      });
    if (block.kind === "commands")
      it.skipIf(build.isMissing)(
        build.title(`${where} runs, and prints what it promises`),
        async () => {
          const printed = await runCommands(block.code, folder);
          const broken = brokenPromises(block.promised, printed, (line, promise) => line.includes(promise));
          expect(broken, printed.join("\n")).toEqual([]);
        },
        COMMANDS_TIMEOUT_MS,
      );
  }
});

it("tells blocks apart by what stands behind the fence", () => {
  const fence = "```";
  const text = [
    `${fence}sh\nls\n# -> a.txt\n${fence}`,
    `${fence}sh not run: needs a bank\nrob\n${fence}`,
    `${fence}ts file: a.ts\n1;\n${fence}`,
    `${fence}ts\n// example\n1;\n${fence}`,
    `${fence}ts\n1;\n${fence}`,
    `${fence}html\n<p>\n${fence}`,
    `${fence}\npicture\n${fence}`,
  ].join("\n\n");
  expect(findGuideBlocks(text).map(({ kind, line }) => [kind, line])).toEqual([
    ["commands", 2],
    ["reason", 7],
    ["file", 11],
    ["program", 15],
    ["unmarked", 20],
    ["unmarked", 24],
    ["text", 28],
  ]);
});

it.skipIf(build.isMissing)(build.title("notices commands that fail"), async () => {
  await expect(runCommands("flashwick run no-such-file.gguf --prompt x; echo never", "/")).rejects.toThrow(/status 1/);
});
