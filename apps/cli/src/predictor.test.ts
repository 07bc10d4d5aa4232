/** `flashwick predictor`: out and in again, in PowerInfer's form too; parts merged; and what does not fit is refused by name. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwickJson, makeWorkplace, TINY } from "./tiny-checkpoint.fixture.js";
import { writeTinyPredictor } from "./tiny-predictor.fixture.js";

let dir: string;
let model: string;
let predictor: string;
let text: string;
beforeAll(async () => {
  const workplace = makeWorkplace();
  dir = workplace.dir;
  model = join(dir, "tiny.gguf");
  predictor = join(dir, "tiny.predictor.gguf");
  text = join(dir, "text.txt");
  writeFileSync(
    text,
    "Call me Ishmael. Some years ago, never mind how long precisely, I thought I would sail. ".repeat(12),
  );
  const { document } = await flashwickJson(["convert", workplace.checkpoint, "-o", model]);
  await writeTinyPredictor(predictor, document.fingerprint);
});
afterAll(() => rmSync(dir, { recursive: true }));

/** A safetensors file, written here anew. */
function safetensors(
  tensors: Readonly<Record<string, { readonly shape: readonly number[]; readonly values: Float32Array }>>,
) {
  let at = 0;
  const directory = Object.fromEntries(
    Object.entries(tensors).map(([name, { shape, values }]) => {
      const begin = at;
      at += values.byteLength;
      return [name, { dtype: "F32", shape, data_offsets: [begin, at] }];
    }),
  );
  const header = Buffer.from(JSON.stringify(directory));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, ...Object.values(tensors).map(({ values }) => Buffer.from(values.buffer))]);
}

function layerFile(rank: number, dFf: number = TINY.dFf): Buffer {
  const noise = (count: number, seed: number) =>
    Float32Array.from({ length: count }, (_, i) => Math.sin(seed + 1.7 * i));
  return safetensors({
    "fc1.weight": { shape: [rank, TINY.dModel], values: noise(rank * TINY.dModel, rank) },
    "fc2.weight": { shape: [dFf, rank], values: noise(dFf * rank, rank + 1) },
  });
}

const importAs = (dtype: string, output: string, ...files: string[]) =>
  flashwickJson(["predictor", "import", model, "--text", text, "-o", output, "--dtype", dtype, "--from", ...files]);
const importFrom = (output: string, ...files: string[]) => importAs("f32", output, ...files);

describe("predictor export and import", () => {
  it("gives back the same weights, thresholds set on the text", async () => {
    const file = join(dir, "out.safetensors");
    expect((await flashwickJson(["predictor", "export", predictor, "-o", file])).document.layers).toBe(TINY.nLayers);
    const back = join(dir, "back.gguf");
    const { status, document } = await importFrom(back, file);
    expect(status).toBe(0);
    expect(document.layers).toHaveLength(TINY.nLayers);
    for (const { rank, recall, namedShare, trueActiveShare } of document.layers) {
      expect(rank).toBe(16);
      expect(recall).toBeGreaterThan(0);
      expect(namedShare).toBeGreaterThan(0);
      expect(trueActiveShare).toBeGreaterThan(0);
    }
    const again = join(dir, "again.safetensors");
    await flashwickJson(["predictor", "export", back, "-o", again]);
    const data = (path: string) => {
      const bytes = readFileSync(path);
      return bytes.subarray(8 + Number(bytes.readBigUInt64LE()));
    };
    expect(data(again).equals(data(file))).toBe(true);
    const run = await flashwickJson(["run", model, "--predictor", back, "--tokens", "2,9", "--max-tokens", "2"]);
    expect(run.document.stats.mode).toBe("predicted");
  });
  it("takes a file a layer, ranks of their own, as PowerInfer has them", async () => {
    const files = Array.from({ length: TINY.nLayers }, (_, layer) => {
      const path = join(dir, `model_${layer}.safetensors`);
      writeFileSync(path, layerFile(8 + 4 * layer));
      return path;
    });
    const { document } = await importFrom(join(dir, "powerinfer.gguf"), ...files.reverse());
    expect(document.layers.map(({ rank }: { rank: number }) => rank)).toEqual([8, 12, 16]);
  });
  it("stores four bits, shows the type, and runs; refuses a rank that is no whole number of blocks", async () => {
    const files = (rank: number) =>
      Array.from({ length: TINY.nLayers }, (_, layer) => {
        const path = join(dir, `blocks_${layer}.safetensors`);
        writeFileSync(path, layerFile(rank));
        return path;
      });
    const output = join(dir, "blocks.gguf");
    const refused = await importAs("q4_0", output, ...files(24));
    expect(refused.document.error.code).toBe("INPUT_INVALID");
    expect(refused.document.error.message).toMatch(/blocks_0.*fc2\.weight.*layer 0.*32 weights for q4_0, found 24/);
    expect((await importAs("q4_0", output, ...files(32))).status).toBe(0);
    const { layers, weightBytes } = (await flashwickJson(["inspect", output])).document;
    expect(layers.map(({ dtype }: { dtype: string }) => dtype)).toEqual(new Array(TINY.nLayers).fill("q4_0"));
    expect(weightBytes).toBe((TINY.nLayers * 32 * (TINY.dModel + TINY.dFf) * 18) / 32);
    const run = await flashwickJson(["run", model, "--predictor", output, "--tokens", "2,9", "--max-tokens", "2"]);
    expect(run.document.stats.mode).toBe("predicted");
  });
  it("names the file, tensor and layer that do not fit, and writes nothing", async () => {
    const output = join(dir, "refused.gguf");
    const wrong = join(dir, "model_1.safetensors");
    writeFileSync(wrong, layerFile(8, 128));
    const [first, last] = [join(dir, "model_0.safetensors"), join(dir, "model_2.safetensors")];
    const shape = await importFrom(output, first, wrong, last);
    expect(shape.document.error).toMatchObject({ code: "CHECKPOINT_TENSOR_SHAPE" });
    expect(shape.document.error.message).toMatch(/model_1.*fc2\.weight.*layer 1.*\[256, 8\].*\[128, 8\]/);
    const missing = await importFrom(output, first, last);
    expect(missing.document.error).toMatchObject({ code: "CHECKPOINT_TENSOR_MISSING", details: { layer: 1 } });
    const twice = await importFrom(output, first, first);
    expect(twice.document.error.code).toBe("INPUT_INVALID");
    writeFileSync(wrong, layerFile(8).subarray(0, 300));
    expect((await importFrom(output, first, wrong, last)).document.error.code).toBe("CHECKPOINT_FILE");
    expect(existsSync(output)).toBe(false);
  });
});

describe("predictor merge", () => {
  const train = (layers: string, output: string) =>
    flashwickJson([
      ...["train", model, "--text", text, "-o", output, "--layers", layers, "--rank", "8", "--epochs", "1"],
      ...["--tokens", "600", "--workers", "0"],
    ]);

  it("takes each layer from the file that has trained it", async () => {
    const parts = [join(dir, "part-0.gguf"), join(dir, "part-1.gguf")];
    const trained = [await train("0-1", parts[0]!), await train("2", parts[1]!)];
    expect(trained.map(({ status }) => status)).toEqual([0, 0]);
    const merged = join(dir, "merged.gguf");
    const { status, document } = await flashwickJson(["predictor", "merge", ...parts, "-o", merged]);
    expect(status).toBe(0);
    expect(document.layers).toEqual(trained.flatMap((part) => part.document.layers));
    const run = await flashwickJson(["run", model, "--predictor", merged, "--tokens", "2,9", "--max-tokens", "2"]);
    expect(run.document.stats.mode).toBe("predicted");
  });
  it("refuses a layer that is missing, or there twice", async () => {
    const output = join(dir, "none.gguf");
    const merge = (...files: string[]) => flashwickJson(["predictor", "merge", ...files, "-o", output]);
    const [a, b] = [join(dir, "part-0.gguf"), join(dir, "part-1.gguf")];
    expect((await merge(a)).document.error.message).toMatch(/layer 2 is trained in none/);
    expect((await merge(a, b, b)).document.error.message).toMatch(/layer 2 is trained in .*part-1.* and /);
    expect(existsSync(output)).toBe(false);
  });
});
