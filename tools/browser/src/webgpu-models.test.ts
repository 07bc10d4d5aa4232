/**
 * The models on WebGPU, in Node and in Chromium, both on SwiftShader: logits as an independent implementation has them, greedy tokens as WebAssembly's, and a
 * device that is lost while a model generates.
 */
import { execFile } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { RecordDType } from "@flashwick/core";
import { createModelWriter, memorySink } from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundle } from "./bundle.js";
import { build, program, webgpu } from "./capabilities.js";
import { launchChromium } from "./chromium.js";
import type { ModelOutcomes } from "./gpu-models.js";
import { runOnDevice, swiftShaderEnvironment } from "./gpu-process.js";
import { openSite } from "./site.js";

/** As packages/runtime/src/goldens.test.ts. */
const LOGIT_TOLERANCE = 2e-3;
const MARGIN = 0.01;
/** As packages/runtime/src/gguf-models.test.ts. */
const BLOCK_LOGIT_TOLERANCE = 2e-2;

/** In the types that they are stored in. */
const GOLDENS: readonly (readonly [string, RecordDType])[] = [
  ["opt-tiny-postnorm", "f16"],
  ["opt-tiny-sharded", "f16"],
  ["opt-demo", "f16"],
  ["falcon-tiny-mqa", "bf16"],
  ["falcon-tiny-gqa", "bf16"],
  ["falcon-tiny-alibi", "f32"],
  ["falcon-demo", "f16"],
];
/** Files of llama.cpp's whose types all have shaders: Q4_0 with f16 embeddings. More of them: tools/gpu-check. */
const GGUFS = ["gguf-gemma3-linear"];
const DEMOS = ["opt-demo", "falcon-demo"];

const repository = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "flashwick-gpu-"));
const files: string[] = [];
const names = [...GOLDENS.map(([name]) => name), ...GGUFS].join(",");

beforeAll(async () => {
  for (const [name, dtype] of GOLDENS) {
    const demo = DEMOS.includes(name);
    const source = demo ? `packages/demo-models/models/${name}` : `packages/runtime/fixtures/${name}`;
    const sink = memorySink(name);
    const checkpoint = await openCheckpointFolder(repository(source));
    await convertCheckpoint(checkpoint, (spec) => createModelWriter(sink, spec), { dtype });
    writeFileSync(join(folder, `${name}.gguf`), sink.committed!);
    addGolden(name);
    if (!demo) continue;
    copyFileSync(repository(`${source}/${name}.predictor.gguf`), join(folder, `${name}.predictor.gguf`));
    files.push(`${name}.predictor.gguf`);
  }
  for (const name of GGUFS) {
    const file = name.slice("gguf-".length);
    copyFileSync(repository(`packages/runtime/fixtures/gguf/${file}.gguf`), join(folder, `${name}.gguf`));
    addGolden(name);
  }
});

function addGolden(name: string): void {
  copyFileSync(repository(`packages/runtime/fixtures/goldens/${name}.json`), join(folder, `${name}.json`));
  files.push(`${name}.gguf`, `${name}.json`);
}

afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function inNode(): Promise<ModelOutcomes> {
  return await runOnDevice(["gpu-models-node"], [folder, names, DEMOS.join(",")]);
}

async function inChromium(): Promise<ModelOutcomes> {
  const site = await openSite();
  site.serve("/", "text/html", `<!doctype html><script type="module" src="/page.js"></script>`);
  site.serve(
    "/page.js",
    "text/javascript",
    await bundle(fileURLToPath(new URL("gpu-models-page.ts", import.meta.url))),
  );
  for (const file of files) site.serveFile(`/models/${file}`, join(folder, file));
  const browser = await launchChromium();
  try {
    const page = await browser.newPage();
    await page.goto(`${site.origin}/?goldens=${names}&demos=${DEMOS.join(",")}`);
    await page.waitForFunction(() => "outcomes" in window, null, { timeout: 500_000 });
    return await page.evaluate(() => (window as unknown as { outcomes: ModelOutcomes }).outcomes);
  } finally {
    await browser.close();
    await site.close();
  }
}

describe.skipIf(webgpu.isMissing).each([
  ["Node", inNode],
  ["Chromium", inChromium],
] as const)(webgpu.title("models on WebGPU in %s"), (_, run) => {
  let outcomes: ModelOutcomes;
  beforeAll(async () => {
    outcomes = await run();
  }, 600_000);

  it("ran on a device", () => {
    expect(outcomes).not.toHaveProperty("error");
    expect(outcomes.adapter).toMatch(/swiftshader/i);
  });

  it.each(GOLDENS)(`%s as %s has the reference's logits within ${LOGIT_TOLERANCE}`, (name) => {
    const outcome = outcomes.goldens.find((golden) => golden.name === name)!;
    expect(outcome.positions).toBeGreaterThan(40);
    expect(outcome.largestDifference).toBeLessThan(LOGIT_TOLERANCE);
  });

  it.each(GGUFS)(
    `%s has the reference's logits within ${BLOCK_LOGIT_TOLERANCE}, and the same bits streamed`,
    (name) => {
      const outcome = outcomes.goldens.find((golden) => golden.name === name)!;
      expect(outcome.positions).toBeGreaterThan(40);
      expect(outcome.largestDifference).toBeLessThan(BLOCK_LOGIT_TOLERANCE);
      expect(outcome.streamedIsSame).toBe(true);
    },
  );

  it.each(DEMOS)(`%s within half its file says greedily what WebAssembly says, up to a margin of ${MARGIN}`, (name) => {
    const { webgpu, wasm, margins } = outcomes.greedy.find((demo) => demo.name === name)!;
    const uncertain = margins.findIndex((margin) => margin <= MARGIN);
    const certain = uncertain < 0 ? wasm.length : uncertain;
    expect(certain).toBeGreaterThan(0);
    expect(webgpu.slice(0, certain)).toEqual(wasm.slice(0, certain));
    expect(webgpu.length).toBe(wasm.length);
  });

  it.each(DEMOS)("%s goes on with WebAssembly when the device is lost, with the same tokens", (name) => {
    const { wasm, continued, continuedOn } = outcomes.greedy.find((demo) => demo.name === name)!;
    expect(continuedOn).toBe("wasm");
    expect(continued).toEqual(wasm);
  });
});

describe.skipIf(build.isMissing || webgpu.isMissing)(
  webgpu.title(build.title("flashwick run --backend webgpu")),
  () => {
    const run = async (backend: string, env: NodeJS.ProcessEnv) => {
      const model = join(folder, "falcon-demo.gguf");
      const flags = ["--prompt", "In the beginning", "--max-tokens", "6", "--temperature", "0", "--dram-budget", "50%"];
      const args = [program, "run", model, ...flags, "--backend", backend, "--json"];
      return await promisify(execFile)(process.execPath, args, { env });
    };

    it("says what --backend wasm says, and who computed", async () => {
      const env = await swiftShaderEnvironment();
      const [webgpu, wasm] = [await run("webgpu", env), await run("wasm", env)].map(({ stdout }) => {
        const lines = stdout.trimEnd().split("\n");
        return JSON.parse(lines.at(-1)!) as { readonly text: string; readonly stats: { readonly backend: string } };
      });
      expect(webgpu!.stats.backend).toBe("webgpu");
      expect(webgpu!.text).toBe(wasm!.text);
    }, 60_000);

    it("ends with status 1 and says what to do where there is no graphics processor", async () => {
      const none = { ...process.env, VK_ICD_FILENAMES: "/nowhere/icd.json", LD_LIBRARY_PATH: "" };
      await expect(run("webgpu", none)).rejects.toMatchObject({
        code: 1,
        stdout: expect.stringMatching(/no adapter was found.*compute on WebAssembly/),
      });
    }, 60_000);
  },
);
