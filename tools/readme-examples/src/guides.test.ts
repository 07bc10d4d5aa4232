/** Every block of code in the guides, and in the one on serving, runs, page by page and in the order of the page; programs have the types that the packages have. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { capability } from "@flashwick/test-capabilities";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { brokenPromises } from "./example-block.js";
import { prepareFolder, removeFolder } from "./example-folder.js";
import { runProgram } from "./example-run.js";
import { typeErrors } from "./example-types.js";
import { freePorts } from "./free-ports.js";
import { findGuideBlocks } from "./guide-block.js";
import { runCommands, type Service, shellMissing, startService } from "./shell-run.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const guidesFolder = join(root, "docs/guides");
// Here, since the programs' imports resolve from here.
const programs = fileURLToPath(new URL("../.examples/guides", import.meta.url));
const build = capability("build", shellMissing());
/** Some commands train. */
const COMMANDS_TIMEOUT_MS = 300_000;

const nginx = capability("nginx", spawnSync("nginx", ["-v"]).status === 0 ? null : "nginx is not installed");

rmSync(programs, { recursive: true, force: true });
mkdirSync(programs, { recursive: true });
const pages = readdirSync(guidesFolder)
  .filter((name) => name.endsWith(".md"))
  .map((name) => `docs/guides/${name}`)
  .concat("docs/serving.md");
const guides = await Promise.all(pages.map(readGuide));

async function readGuide(name: string) {
  const text = readFileSync(join(root, name), "utf8");
  const found = findGuideBlocks(text);
  const serves = found.some(({ kind }) => kind === "service");
  const adapt = serves ? await freePorts(text) : (same: string) => same;
  const blocks = found.map((block) => {
    const path = join(programs, `${basename(name, ".md")}-${block.line}.ts`);
    const code = adapt(block.code);
    const isProgram = block.kind === "program" || (block.kind === "file" && block.language === "ts");
    if (isProgram) writeFileSync(path, `${code}export {};\n`);
    return { ...block, code, path, isProgram };
  });
  return { name, text, blocks, serves, adapt };
}
const errors = typeErrors(
  root,
  guides.flatMap(({ blocks }) => blocks.filter(({ isProgram }) => isProgram).map(({ path }) => path)),
);

describe.each(guides.map((guide) => [guide.name, guide] as const))("%s", (_, { text, blocks, serves, adapt }) => {
  let folder: string;
  let service: Service | null = null;
  beforeAll(async () => {
    folder = await prepareFolder(text, adapt);
  });
  afterAll(async () => {
    await service?.stop();
    removeFolder(folder);
  });

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
    if (block.kind === "program") {
      const runs = `${where} runs, and prints what it promises`;
      // What it asks is served by the command line.
      it.skipIf(serves && build.isMissing)(serves ? build.title(runs) : runs, async () => {
        const printed = await runProgram(block.path, folder);
        expect(brokenPromises(block.promised, printed), `printed: ${JSON.stringify(printed)}`).toEqual([]);
      });
    }
    if (block.kind === "service") {
      // One need a title: a skip for want of nginx must not look like one for want of a build.
      const need = block.needs === "nginx" && !build.isMissing ? nginx : build;
      it.skipIf(need.isMissing)(need.title(`${where} serves until the next one does`), async () => {
        await service?.stop();
        service = null;
        service = await startService(block.code, folder, adapt(block.url));
        const printed = service.printed();
        expect(brokenLines(block.promised.map(adapt), printed), printed.join("\n")).toEqual([]);
      });
    }
    if (block.kind === "commands")
      it.skipIf(build.isMissing)(
        build.title(`${where} runs, and prints what it promises`),
        async () => {
          const printed = await runCommands(block.code, folder);
          expect(brokenLines(block.promised, printed), printed.join("\n")).toEqual([]);
        },
        COMMANDS_TIMEOUT_MS,
      );
  }
});

/** Commands print more than what is promised of a line. */
function brokenLines(promised: readonly string[], printed: readonly string[]): string[] {
  return brokenPromises(promised, printed, (line, promise) => line.includes(promise));
}

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
    `${fence}sh serves: http://127.0.0.1:1/x\nserve\n${fence}`,
    `${fence}sh serves: http://127.0.0.1:1/x needs: nginx\nserve\n${fence}`,
  ].join("\n\n");
  expect(findGuideBlocks(text).map(({ kind, line }) => [kind, line])).toEqual([
    ["commands", 2],
    ["reason", 7],
    ["file", 11],
    ["program", 15],
    ["unmarked", 20],
    ["unmarked", 24],
    ["text", 28],
    ["service", 32],
    ["service", 36],
  ]);
});

it("gives a page free ports, the same in all its blocks", async () => {
  const adapt = await freePorts("serve --port 8080 & curl http://127.0.0.1:8080/x http://127.0.0.1:8081");
  const [first, again, second] = adapt("--port 8080, 127.0.0.1:8080, 127.0.0.1:8081").match(/\d{4,5}/g)!;
  expect([again, new Set([first, second, "8080"]).size]).toEqual([first, 3]);
  expect(adapt("of 8080 tokens at localhost:8080 and --port 9999")).toBe(
    "of 8080 tokens at localhost:8080 and --port 9999",
  );
});

it("notices a service that ends before it serves", async () => {
  await expect(startService("echo sorry; exit 3", "/", "http://127.0.0.1:1/")).rejects.toThrow(/status 3:\nsorry/);
});

it.skipIf(build.isMissing)(build.title("notices commands that fail"), async () => {
  await expect(runCommands("flashwick run no-such-file.gguf --prompt x; echo never", "/")).rejects.toThrow(/status 1/);
});
