/** A process of its own, as gpu-host-node.ts: runs the example of the README that is named, as it stands. Prints what it prints. */
import { readFileSync } from "node:fs";
import * as kernels from "@flashwick/kernels";
import * as reference from "@flashwick/kernels/reference";
import * as kernelsWebgpu from "@flashwick/kernels-webgpu";
import { create } from "webgpu";

const MODULES = {
  "@flashwick/kernels": kernels,
  "@flashwick/kernels/reference": reference,
  "@flashwick/kernels-webgpu": kernelsWebgpu,
};
// What a browser has.
Object.defineProperty(globalThis, "navigator", { value: { gpu: create([]) }, configurable: true });
const [, example] = /```ts\n([\s\S]*?)```/.exec(readFileSync(process.argv[2]!, "utf8"))!;
const body = example!.replace(/import (\{[^}]*\}) from "([^"]*)";/g, 'const $1 = modules["$2"];');
const AsyncFunction = (async () => {}).constructor as FunctionConstructor;
const printed: unknown[] = [];
await new AsyncFunction("modules", "console", body)(MODULES, { log: (value: unknown) => printed.push(value) });
process.stdout.write(`${JSON.stringify(printed)}\n`, () => process.exit(0));
