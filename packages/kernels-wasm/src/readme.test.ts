/** The README's example runs as it stands. */
import { readFileSync } from "node:fs";
import * as kernels from "@flashwick/kernels";
import ts from "typescript";
import { expect, it, vi } from "vitest";
import * as kernelsWasm from "./index.js";

const MODULES: Readonly<Record<string, unknown>> = {
  "@flashwick/kernels": kernels,
  "@flashwick/kernels-wasm": kernelsWasm,
};

it("the README's example multiplies a matrix", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const [, example] = /```ts\n([\s\S]*?)```/.exec(readme)!;
  const plain = ts.transpile(example!, { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext });
  const body = plain.replace(/import (\{[^}]*\}) from "([^"]*)";/g, 'const $1 = modules["$2"];');
  const log = vi.fn();
  new Function("modules", "console", body)(MODULES, { log });
  expect(log.mock.calls).toEqual([[[-2, -2]]]);
});
