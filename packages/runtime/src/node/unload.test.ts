/** What `unload` gives back. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Arena, kernelFactory } from "@flashwick/kernels";
import { afterAll, beforeAll, expect, it } from "vitest";
import { modelBytes } from "../checkpoint.fixture.js";
import { Model } from "../model.js";
import { makeDiskFolder } from "./disk-folder.fixture.js";
import { openModel } from "./open-model.js";

let dir: string;
let path: string;
beforeAll(async () => {
  dir = makeDiskFolder("unload");
  path = join(dir, "opt-demo.gguf");
  writeFileSync(path, await modelBytes("opt-demo", "f16"));
});
afterAll(() => rmSync(dir, { recursive: true }));

/** A model with compute threads that remembers its arenas without holding them. */
async function openWatched() {
  const opened = await openModel(path, { predictor: null, threads: 2 });
  const arenas: WeakRef<Arena>[] = [];
  const { kernels } = opened.parts;
  const watched = kernelFactory((arena: Arena) => {
    arenas.push(new WeakRef(arena));
    return kernels(arena);
  }, kernels);
  return { opened, model: new Model({ ...opened.parts, kernels: watched }, { mode: "dense" }), arenas };
}

/** Booleans: a difference that shows an arena takes gigabytes to print. */
const held = (arenas: readonly WeakRef<Arena>[]) => arenas.map((arena) => arena.deref() !== undefined);

/** A WeakRef keeps what it refers to until its job has ended. */
const nextJob = () => new Promise(setImmediate);

it("an engine that was unloaded, or replaced for a longer request, stayed in memory until V8 felt like collecting", async () => {
  const { opened, model, arenas } = await openWatched();
  const use = (contextTokens: number) => model.withSequence(contextTokens, (sequence) => sequence.extend([2, 300, 45]));
  await use(8);
  await use(64);
  await nextJob();
  expect(held(arenas)).toEqual([false, true]);
  await nextJob();
  await model.unload();
  await nextJob();
  expect(held(arenas)).toEqual([false, false]);
  await opened.close();
});
