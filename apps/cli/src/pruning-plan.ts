/** The plan that `--pruning` names: a file that `flashwick calibrate` has written, or a method with one share for all layers. */
import { openModelFile } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import type { ModelOptions } from "@flashwick/runtime";
import { dipShares, parsePruningPlan, uniformPlan } from "@flashwick/runtime/engine";
import { UsageError } from "./failure.js";
import { readJson } from "./json-file.js";

/** `dip:0.75`: a method, and the share of an FFN's weights that stays. */
const UNIFORM = /^(dip|dip-norms):(.+)$/;

/**
 * @param gamma Of what DRAM lacks; undefined: nothing is preferred.
 * @throws {InputError} naming file and field of what is no plan for this model. {UsageError} for a share that is none.
 */
export async function pruningChoice(
  modelPath: string,
  named: string,
  gamma: number | undefined,
): Promise<NonNullable<ModelOptions["pruning"]>> {
  const source = await fileSource(modelPath);
  const { geometry } = (await openModelFile(source).finally(() => source.close())).header;
  const [, method, share] = UNIFORM.exec(named) ?? [];
  if (!method || !share) {
    return { plan: parsePruningPlan(await readJson(named, "flashwick calibrate --pruning"), named, geometry), gamma };
  }
  const keep = Number(share);
  if (!(keep > 0 && keep <= 1)) {
    throw new UsageError(`--pruning ${named}: expected a share above 0 and up to 1 behind the method, as in dip:0.75`);
  }
  const shares = geometry.layers[0]!.ffn.gated ? dipShares(keep) : { inputs: keep, outputs: keep };
  return { plan: uniformPlan(method as "dip" | "dip-norms", geometry.layers.length, shares), gamma };
}
