/** Every kind of file that is damaged. */
import { memorySource } from "@flashwick/core";
import { openModelFile } from "@flashwick/flash-format";
import { noisePredictor } from "../faults/noise-predictor.js";
import { foreignModel, ownModel, type TinyModel } from "../faults/tiny-models.js";
import type { Subject } from "./damage.js";
import { foreignSubject, ownSubject } from "./model-subjects.js";
import { checksumSubject, predictorSubject, prefixSubject, profileSubject, traceSubject } from "./sidecar-subjects.js";

/** By name. */
export const SUBJECTS: ReadonlyMap<string, () => Promise<Subject>> = new Map([
  ["opt", async () => await ownSubject(await ownModel("opt-tiny-sharded", "f16", true), null)],
  ["opt-split", async () => await ownSubject(await ownModel("opt-tiny-sharded", "int8", true, "split"), null)],
  [
    "gated",
    async () => await ownSubject(await ownModel("llama-tiny-relu", "f16", true), await retrained("llama-tiny-relu")),
  ],
  ["gated-int8", async () => await ownSubject(await ownModel("prosparse-tiny", "int8", true), null)],
  ["columns", async () => await ownSubject(await ownModel("llama-tiny", "f16", false, "columns"), null)],
  ["columns-int8", async () => await ownSubject(await ownModel("opt-tiny-sharded", "int8", false, "columns"), null)],
  ["mixture", async () => await ownSubject(await ownModel("mixtral-tiny", "f16", false), null)],
  ["gguf", async () => await foreignSubject(await foreignModel("qwen3", true), [await foreignModel("qwen2", true)])],
  ["gguf-fused", async () => await foreignSubject(await foreignModel("phi2-fused", true), [])],
  ["gguf-divisors", async () => await foreignSubject(await foreignModel("llama3", true), [])],
  ["gguf-mixture", async () => await foreignSubject(await foreignModel("mixtral", true), [])],
  ["checksums", async () => await checksumSubject(await foreignModel("qwen3", true))],
  ["checksums-mixture", async () => await checksumSubject(await foreignModel("mixtral", true))],
  ["predictor", async () => await predictorOf("opt-tiny-sharded", "int8")],
  ["predictor-q4", async () => await predictorOf("llama-tiny-relu", "q4_0")],
  ["trace", async () => traceSubject(false)],
  ["trace-of-origin", async () => traceSubject(true)],
  ["prefix", prefixSubject],
  ["profile", async () => await profileSubject(await ownModel("mixtral-tiny", "f16", false))],
]);

/** A model of the same shape, all of whose records have other bytes. */
async function retrained(name: string): Promise<TinyModel> {
  const model = await ownModel(name, "f16", true);
  return { ...model, name: `${name}, trained on`, bytes: model.bytes.map((byte) => byte ^ 1) };
}

async function predictorOf(name: string, dtype: "int8" | "q4_0"): Promise<Subject> {
  const headers = ["opt-tiny-sharded", "llama-tiny-relu", "prosparse-tiny"].map(async (of) => {
    const { bytes } = await ownModel(of, "f16", true);
    return [of, (await openModelFile(memorySource(bytes, of))).header] as const;
  });
  const models = new Map(await Promise.all(headers));
  const strangers = [...models].filter(([of]) => of !== name).map(([, header]) => header);
  return await predictorSubject(`predictor of ${name}, ${dtype}`, noisePredictor(models.get(name)!, dtype), strangers);
}
