/** Every way of pruning a model's FFNs at its operating points, measured. */
import { batchReadMs } from "@flashwick/cost-model";
import {
  calibrateShares,
  dipShares,
  evaluatePruning,
  readUnitNorms,
  recordMagnitudes,
  thresholdPlan,
  uniformPlan,
  unitBytes,
} from "@flashwick/runtime/engine";
import { losslessShare, passes } from "./sparsity-gates.mjs";

const ORACLE = [0.5, 0.65];
const CATS = [0.6, 0.8];
const TEAL = [0.75, 0.85];
const DIP = [0.65, 0.75, 0.85];
const DIP_NORMS = [0.75];
const CACHE_AWARE = [0.75, 0.85];
const GAMMAS = [0.5, 0.2];
/** Of the calibration text, for thresholds; to judge calibrated plans, and to probe for them. */
const MAGNITUDE_WINDOWS = 2;
const JUDGE_WINDOWS = 2;
const PROBE_TOKENS = 64;
/** Reads in flight of the device that is priced. */
const DEPTH = 32;

/**
 * @param model    In dense mode, with its FFNs in DRAM.
 * @param settings { windows, cacheShares, device, calibration, evaluation, targetKl: null or of a calibrated plan, only: null or methods }
 */
export async function pruningRows(model, settings) {
  const { windows, cacheShares, evaluation, only } = settings;
  const points = (await operatingPoints(model, settings)).filter(
    ({ method }) => only === null || only.includes(method),
  );
  const norms = await readUnitNorms(model);
  const runs = points.map(({ plan, gamma = 1, shares = cacheShares }) => ({ plan, gamma, cacheShares: shares }));
  const onProgress = ({ loaded, total }) => console.error(`window ${loaded} of ${total}, ${runs.length} runs each`);
  const results = await evaluatePruning(model, evaluation, runs, { norms, maxWindows: windows, onProgress });
  const dense = cacheShares.map((share) => denseRow(model, results[0], share, settings));
  return [...dense, ...results.flatMap((result, i) => rowsOf(model, points[i], result, settings))];
}

async function operatingPoints(model, { calibration, cacheShares, targetKl }) {
  const { layers } = model.header.geometry;
  const split = (keep) => (layers[0].ffn.gated ? dipShares(keep) : { inputs: keep, outputs: keep });
  const uniform = (method, shares) => uniformPlan(method, layers.length, shares);
  const magnitudes = await recordMagnitudes(model, calibration, { maxWindows: MAGNITUDE_WINDOWS });
  const thresholds = (method, share) => ({
    ...{ method, setting: `${share} above thresholds` },
    plan: thresholdPlan(method, magnitudes, share, "calibration text"),
  });
  const kept = (method, keep) => ({ method, setting: `keep ${keep}`, plan: uniform(method, split(keep)) });
  const cacheAware = ({ setting, plan }) =>
    GAMMAS.flatMap((gamma) =>
      cacheShares.map((share) => {
        return { method: "dip-ca", setting: `${setting}, γ ${gamma}`, plan, gamma, shares: [share] };
      }),
    );
  const points = [
    ...ORACLE.map((outputs) => {
      const plan = uniform("oracle", { inputs: 1, outputs });
      return { method: "oracle", setting: `${outputs} of the neurons`, plan };
    }),
    ...CATS.map((share) => thresholds("cats", share)),
    ...TEAL.map((share) => thresholds("teal", share)),
    ...DIP.map((keep) => kept("dip", keep)),
    ...DIP_NORMS.map((keep) => kept("dip-norms", keep)),
    ...CACHE_AWARE.flatMap((keep) => cacheAware(kept("dip", keep))),
  ];
  if (targetKl === null) return points;
  const options = { method: "dip", targetKl, source: "calibration text", judgeWindows: JUDGE_WINDOWS };
  const plan = await calibrateShares(model, calibration, { ...options, windowTokens: PROBE_TOKENS });
  const calibrated = { method: "dip", setting: `calibrated to a KL of ${targetKl}`, plan };
  return [...points, calibrated, ...cacheAware(calibrated)];
}

/** A row for each of the run's caches. */
function rowsOf(model, point, result, settings) {
  return result.caches.map((cache) => rowOf(model, point, result, cache, settings));
}

function rowOf(model, { method, setting, plan, gamma }, result, cache, { device }) {
  const { against, meanNll, bytesPerToken, denseBytesPerToken } = result;
  const quality = { kl: against.meanKl, top1: against.top1Agreement, nll_rise: meanNll - against.meanNll };
  const readMs = unitBytes(model.header, plan.method).reduce(
    (sum, bytes, l) => sum + stageMs(device, cache, bytes, l, "inputs") + stageMs(device, cache, bytes, l, "outputs"),
    0,
  );
  const flashShare = cache.flashBytesPerToken / denseBytesPerToken;
  return {
    ...{ method, setting, curve: curveOf(method, setting, gamma), cache_share: cache.share },
    input_share: mean(result.inputShareByLayer),
    output_share: mean(result.outputShareByLayer),
    read_share: bytesPerToken / denseBytesPerToken,
    flash_share: flashShare,
    hit_share: cache.hitShare,
    perplexity_rise: result.perplexity / against.perplexity - 1,
    ...quality,
    passes: passes(quality) ? "pass" : "fail",
    expected_ms: readMs + dramMs(model, bytesPerToken, device),
    lossless_flash_share: losslessShare({ top1: quality.top1, flash_share: flashShare }, 1 - cache.share),
  };
}

/** Points of one curve differ in nothing but how much they keep. */
function curveOf(method, setting, gamma) {
  const shares = setting.startsWith("calibrated") ? ", calibrated" : "";
  return `${method}${shares}${gamma ? `, γ ${gamma}` : ""}`;
}

/** Dense streams what DRAM does not hold; its quality is what all others are compared with. */
function denseRow(model, { against, denseBytesPerToken }, cacheShare, { device }) {
  const flashBytes = (1 - cacheShare) * denseBytesPerToken;
  return {
    ...{ method: "dense", setting: "streamed in order", curve: "", cache_share: cacheShare },
    ...{ input_share: 1, output_share: 1, read_share: 1, flash_share: 1 - cacheShare, hit_share: cacheShare },
    ...{ perplexity_rise: 0, kl: 0, top1: 1, nll_rise: 0, passes: "pass" },
    expected_ms: (1000 * flashBytes) / device.flash.sequentialBytesPerSec + dramMs(model, denseBytesPerToken, device),
    lossless_flash_share: 1 - cacheShare,
    perplexity: against.perplexity,
  };
}

/** Each stage of each layer is one batch of equal reads, which nothing overlaps. */
function stageMs({ flash }, { missesByLayer }, bytes, layer, stage) {
  return batchReadMs(flash, missesByLayer[stage][layer], bytes[stage], DEPTH);
}

/** What is read of FFNs and everything that is resident, once a token. */
function dramMs({ header }, ffnBytes, { dramBytesPerSec }) {
  const dense = unitBytes(header, "dip").reduce((sum, layer) => sum + layer.dense, 0);
  return (1000 * (header.fileBytes - dense + ffnBytes)) / dramBytesPerSec;
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
