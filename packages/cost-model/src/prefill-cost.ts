/** What taking in a prompt costs: whole layers are streamed past batches of tokens, one chunk ahead of the arithmetic. */
import { blockBytes, blockElements } from "@flashwick/core";
import type { PrefillCost } from "./cost-figures.js";
import { batchFlopPerSec, kernelMs } from "./kernel-time.js";
import { mixturePrefillCost } from "./mixture-prefill.js";
import { denseBytesByType } from "./model-shape.js";
import type { TokenRequest } from "./pass-request.js";
import { streamBytesPerSec } from "./row-stream-cost.js";

/** Expected cost of `promptTokens`, in batches of `batchTokens`. */
export function prefillCost(request: TokenRequest, promptTokens: number, batchTokens: number): PrefillCost {
  const { shape, profile, slotsByLayer, settings } = request;
  if (shape.mixture) return mixturePrefillCost(request, shape.mixture, promptTokens, batchTokens);
  const batches = Math.ceil(promptTokens / batchTokens);
  // The first batch reads what will be resident as well.
  const layerBytes = shape.dFf * shape.strideBytes * shape.readsPerNeuron;
  const streamed = slotsByLayer.filter((slots) => slots < shape.dFf).length;
  const flashBytes = layerBytes * (shape.nLayers + streamed * Math.max(0, batches - 1));
  const { rowStream } = shape;
  const bytesPerSec = rowStream ? streamBytesPerSec(request, rowStream) : profile.flash.sequentialBytesPerSec;
  const readMs = (1000 * flashBytes) / bytesPerSec;
  const secPerToken = denseBytesByType(shape).reduce((sum, { dtype, bytes }) => {
    const flop = (2 * bytes * blockElements(dtype)) / blockBytes(dtype);
    return sum + flop / batchFlopPerSec(profile, dtype, settings.threads);
  }, 0);
  const computeMs = 1000 * secPerToken * promptTokens;
  const threads = rowStream ? 1 : settings.threads;
  const check = { op: "checksum", dtype: null, threads, workingSetBytes: flashBytes } as const;
  const checked = rowStream?.isChecked !== false && profile.kernels.some((rate) => rate.op === "checksum");
  const checkMs = checked ? kernelMs(profile, check, flashBytes) : 0;
  return { flashBytes, readMs, computeMs, totalMs: Math.max(readMs, computeMs + checkMs) };
}
