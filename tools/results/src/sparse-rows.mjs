/** In the table of pruned FFNs, the paths that read whole neurons: those that a predictor names, and those that resident gates do. */
import { readFileSync } from "node:fs";
import { hasResidentGate, memorySource } from "@flashwick/core";
import { gateName, readPredictorFile } from "@flashwick/flash-format";
import { evaluateText, Model } from "@flashwick/runtime";
import { unitBytes } from "@flashwick/runtime/engine";
import { losslessShare, passes } from "./sparsity-gates.mjs";

/** @param model Dense, of the predictor. @param settings As for `pruningRows`. */
export async function predictorRows({ parts, header }, path, settings) {
  const predictor = await readPredictorFile(memorySource(new Uint8Array(readFileSync(path)), path));
  const sparse = new Model({ ...parts, predictor }, { mode: "predicted", contextTokens: 256 });
  return await rowsOf(sparse, header, { method: "predictor", setting: "its own thresholds" }, settings);
}

/** None where gates are in the records. @param model Dense. @param settings As for `pruningRows`. */
export async function gateFirstRows({ parts, header }, settings) {
  if (!hasResidentGate(header)) return [];
  const sparse = new Model(parts, { mode: "gate-first", contextTokens: 256 });
  return await rowsOf(sparse, header, { method: "gate-first", setting: "resident gates" }, settings);
}

async function rowsOf(model, header, what, { windows, cacheShares, evaluation }) {
  const dense = unitBytes(header, "oracle").reduce((sum, layer) => sum + layer.dense, 0);
  // Multiplied whole, whatever is named, and never read from flash.
  const gates = header.geometry.layers.reduce(
    (sum, _, i) => sum + (header.tensors.get(gateName(i))?.sizeBytes ?? 0),
    0,
  );
  const rows = [];
  for (const share of cacheShares) {
    const slotsByLayer = header.geometry.layers.map(({ ffn }) => Math.floor(share * ffn.dFf));
    const result = await evaluateText(model, evaluation, { against: "dense", maxWindows: windows, slotsByLayer });
    rows.push(rowOf(result, what, share, { dense, gates }));
  }
  return rows;
}

function rowOf({ perplexity, against, meanNll, namedShareByLayer, flashBytesPerToken }, what, share, bytes) {
  const quality = { kl: against.meanKl, top1: against.top1Agreement, nll_rise: meanNll - against.meanNll };
  const named = namedShareByLayer.reduce((sum, of) => sum + of, 0) / namedShareByLayer.length;
  const inRecords = bytes.dense - bytes.gates;
  const flashShare = flashBytesPerToken / bytes.dense;
  return {
    ...what,
    ...{ curve: what.method, cache_share: share, input_share: 1, output_share: named },
    read_share: (bytes.gates + named * inRecords) / bytes.dense,
    flash_share: flashShare,
    hit_share: 1 - flashBytesPerToken / (named * inRecords),
    perplexity_rise: perplexity / against.perplexity - 1,
    ...quality,
    passes: passes(quality) ? "pass" : "fail",
    expected_ms: "",
    lossless_flash_share: losslessShare({ top1: quality.top1, flash_share: flashShare }, 1 - share),
  };
}
