/** The README's example runs as it stands, on the tiny model. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ts from "typescript";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import * as flashFormat from "./index.js";
import * as node from "./node/index.js";
import { writeTinyModel } from "./tiny-model.fixture.js";

const MODULES: Readonly<Record<string, unknown>> = {
  "@flashwick/flash-format": flashFormat,
  "@flashwick/flash-format/node": node,
};

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "flash-format-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

it("the README's example opens, reads and verifies a model", async () => {
  const path = join(folder, "opt-demo.gguf");
  await writeTinyModel(await node.fileSink(path));
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const [, example] = /```ts\n([\s\S]*?)```/.exec(readme)!;
  const plain = ts.transpile(example!, { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext });
  const body = plain
    .replace(/import (\{[^}]*\}) from "([^"]*)";/g, 'const $1 = modules["$2"];')
    .replace('"opt-demo.gguf"', JSON.stringify(path));
  const log = vi.fn();
  const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;
  await new AsyncFunction("modules", "console", body)(MODULES, { log });
  expect(log.mock.calls).toEqual([[2, 512, 2 * 7 * 512], ["whole"]]);
});
