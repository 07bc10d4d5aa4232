/** A predictor's operating point in the table of pruned FFNs. */
import { readFileSync } from "node:fs";
import { memorySource } from "@flashwick/core";
import { readPredictorFile } from "@flashwick/flash-format";
import { evaluateText, Model } from "@flashwick/runtime";
import { unitBytes } from "@flashwick/runtime/engine";
import { losslessShare, passes } from "./sparsity-gates.mjs";

/** @param model Dense, of the predictor. @param settings As for `pruningRows`. */
export async function predictorRows({ parts, header }, path, { windows, cacheShares, evaluation }) {
  const predictor = await readPredictorFile(memorySource(new Uint8Array(readFileSync(path)), path));
  const sparse = new Model({ ...parts, predictor }, { mode: "predicted", contextTokens: 256 });
  const dense = unitBytes(header, "oracle").reduce((sum, layer) => sum + layer.dense, 0);
  const rows = [];
  for (const share of cacheShares) {
    const slotsByLayer = header.geometry.layers.map(({ ffn }) => Math.floor(share * ffn.dFf));
    const result = await evaluateText(sparse, evaluation, { against: "dense", maxWindows: windows, slotsByLayer });
    rows.push(rowOf(result, share, dense));
  }
  return rows;
}

function rowOf({ perplexity, against, meanNll, namedShareByLayer, flashBytesPerToken }, share, denseBytes) {
  const quality = { kl: against.meanKl, top1: against.top1Agreement, nll_rise: meanNll - against.meanNll };
  const named = namedShareByLayer.reduce((sum, of) => sum + of, 0) / namedShareByLayer.length;
  const flashShare = flashBytesPerToken / denseBytes;
  return {
    ...{ method: "predictor", setting: "its own thresholds", curve: "predictor", cache_share: share },
    ...{ input_share: 1, output_share: named, read_share: named, flash_share: flashShare },
    hit_share: 1 - flashShare / named,
    perplexity_rise: perplexity / against.perplexity - 1,
    ...quality,
    passes: passes(quality) ? "pass" : "fail",
    expected_ms: "",
    lossless_flash_share: losslessShare({ top1: quality.top1, flash_share: flashShare }, 1 - share),
  };
}
