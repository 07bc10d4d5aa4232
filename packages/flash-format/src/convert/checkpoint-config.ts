/** config.json: which family a checkpoint is of, its geometry, and the element type its author trained or published. */
import { type BlockDType, FormatError, type ModelGeometry, type RecordDType, UnsupportedError } from "@flashwick/core";
import * as v from "valibot";
import { parseDocument, readText } from "./checkpoint-document.js";
import type { CheckpointFolder } from "./checkpoint-folder.js";
import { falconFamily } from "./families/falcon.js";
import type { CheckpointFamily } from "./families/family.js";
import { gemma3Family } from "./families/gemma3.js";
import { gptOssFamily } from "./families/gpt-oss.js";
import { bambooFamily, llamaFormFamily, mistralFamily, qwen2Family, qwen3Family } from "./families/llama.js";
import { mixtralFamily, olmoeFamily, qwen2MoeFamily, qwen3MoeFamily } from "./families/mixtures.js";
import { optFamily } from "./families/opt.js";
import { persimmonFamily, phiFamily } from "./families/phi.js";

/** Every family that conversion knows. */
const FAMILIES: readonly CheckpointFamily[] = [
  optFamily,
  falconFamily,
  llamaFormFamily,
  mistralFamily,
  bambooFamily,
  qwen2Family,
  qwen3Family,
  gemma3Family,
  phiFamily,
  persimmonFamily,
  mixtralFamily,
  olmoeFamily,
  qwen2MoeFamily,
  qwen3MoeFamily,
  gptOssFamily,
];

const CONFIG_FILE = "config.json";

const commonConfig = v.looseObject({
  model_type: v.optional(v.string()),
  architectures: v.nullish(v.array(v.string())),
  dtype: v.nullish(v.string()),
  torch_dtype: v.nullish(v.string()),
  quantization_config: v.optional(v.unknown()),
});
type CommonConfig = v.InferOutput<typeof commonConfig>;

const DTYPE_OF_TORCH: Readonly<Record<string, RecordDType>> = { float32: "f32", float16: "f16", bfloat16: "bf16" };

/** What config.json says of a checkpoint. */
export interface CheckpointConfig {
  readonly family: CheckpointFamily;
  readonly geometry: ModelGeometry;
  /** What `dtype`, or `torch_dtype` in older files, says; null if it says nothing known and nothing is quantised. */
  readonly dtype: RecordDType | null;
  /** Of a checkpoint whose experts are quantised (gpt-oss): the type in which they stay as they are. Else null. */
  readonly expertDType: BlockDType | null;
}

/**
 * Reads and checks config.json.
 *
 * @throws {FormatError} `CHECKPOINT_CONFIG` naming file and field. {UnsupportedError} `UNSUPPORTED_ARCHITECTURE`,
 * `UNSUPPORTED_ACTIVATION`, `UNSUPPORTED_FEATURE`.
 */
export async function readCheckpointConfig(folder: CheckpointFolder, signal?: AbortSignal): Promise<CheckpointConfig> {
  if (!folder.fileNames.includes(CONFIG_FILE)) {
    throw new FormatError(
      "CHECKPOINT_CONFIG",
      `${folder.name}: expected ${CONFIG_FILE}, but there is none; give the folder of a Hugging Face checkpoint`,
      { details: { folder: folder.name, file: CONFIG_FILE } },
    );
  }
  return parseCheckpointConfig(await readText(folder, CONFIG_FILE, "CHECKPOINT_CONFIG", signal), CONFIG_FILE);
}

/**
 * The same for a config.json by itself: what a model will need can be told before its weights are fetched.
 *
 * @param text  The document.
 * @param where For messages: its name.
 * @throws As {@link readCheckpointConfig}.
 */
export function parseCheckpointConfig(text: string, where: string): CheckpointConfig {
  const config = parseDocument(commonConfig, text, where, "CHECKPOINT_CONFIG");
  const family = findFamily(config, where);
  const expertDType = readQuantisation(config, family, where);
  const geometry = family.readGeometry(config, where);
  const named = config.dtype ?? config.torch_dtype ?? "";
  // Matrices beside quantised experts are published in bf16, whether the document says so or not.
  const dtype = DTYPE_OF_TORCH[named.replace(/^torch\./, "")] ?? (expertDType && "bf16");
  return { family, geometry, dtype, expertDType };
}

const quantisation = v.looseObject({ quant_method: v.string() });

/** @returns Null for a checkpoint that is not quantised, else the type in which experts stay as they are. */
function readQuantisation(
  { quantization_config: found }: CommonConfig,
  { quantisedExperts = {} }: CheckpointFamily,
  where: string,
): BlockDType | null {
  if (found === undefined || found === null) return null;
  const method = v.safeParse(quantisation, found);
  if (method.success && Object.hasOwn(quantisedExperts, method.output.quant_method)) {
    return quantisedExperts[method.output.quant_method]!;
  }
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `${where}: field quantization_config: expected none, found a quantized checkpoint; convert the original one (with dtype int8 if it should be small)`,
    { details: { file: where, field: "quantization_config" } },
  );
}

function findFamily(config: CommonConfig, where: string): CheckpointFamily {
  const classes = config.architectures ?? [];
  const family = FAMILIES.find(
    (known) =>
      (config.model_type === undefined || known.modelTypes.includes(config.model_type)) &&
      (classes.length === 0 ? config.model_type !== undefined : classes.some((c) => known.architectures.includes(c))),
  );
  if (family) return family;
  const found = `model_type ${JSON.stringify(config.model_type ?? null)}, architectures ${JSON.stringify(classes)}`;
  const known = FAMILIES.map((f) => `${f.modelTypes[0]} (${f.architectures.join(", ")})`).join("; ");
  throw new UnsupportedError("UNSUPPORTED_ARCHITECTURE", `${where}: expected one of: ${known}; found ${found}`, {
    details: { file: where, modelType: config.model_type ?? null, architectures: classes },
  });
}
