/**
 * What goes into DRAM under a hard budget: pure arithmetic, exact to the byte, so that the engine can allocate what is
 * planned here and never asks for more (design, section 4).
 *
 * Order of claims: resident weights, predictors, activations for one token, keys and values in the best precision that
 * fits (where layers stream whole, at most f16 unless all of them stay), a least number of slots per layer; then longer chunks to stream layers in, wider prefill batches, tables that could be read by row, and all that is
 * left for neurons.
 */
import { BudgetError, type DramAccount, formatBytes, totalDramBytes } from "@flashwick/core";
import { type KvPrecision, kvCacheBytes } from "./kv-bytes.js";
import type { MemoryRequest } from "./memory-request.js";
import { slotUnits } from "./slot-units.js";

const BATCHES = [128, 64, 32, 16, 8, 4, 2, 1] as const;
/** Of what is left beyond the floor, what longer chunks of a stream may take. */
const STREAM_SHARE = 1 / 64;
/** Of what neurons would get, what wide batches and tables may take; more where each batch of a prompt reads all layers that stream. */
const EXTRA_SHARE = 1 / 10;
const LAYERS_EXTRA_SHARE = 1 / 4;
const NO_STREAM = { leastNeurons: 0, mostNeurons: 0, bytesEach: 0 };
const PRECISIONS: readonly KvPrecision[] = ["f32", "f16", "int8"];

/** What goes into DRAM, to the byte. */
export interface MemoryPlan {
  readonly dram: DramAccount;
  readonly kvPrecision: KvPrecision;
  readonly contextTokens: number;
  readonly sequences: number;
  /** Prefill handles this many tokens at a time. */
  readonly batchTokens: number;
  readonly rowTablesResident: boolean;
  /** Neurons that are streamed at a time. */
  readonly streamNeurons: number;
  /** Of neurons, or in a mixture of experts. */
  readonly slotsByLayer: readonly number[];
  /** By columns: of inputs, the same share of them as of neurons. Else empty. */
  readonly inputSlotsByLayer: readonly number[];
  /** The least budget with which this request would be met. */
  readonly smallestBudgetBytes: number;
  /**
   * The least with which every layer's slots hold what one token names of it, or its chosen experts. Below, a token pushes out its own neurons before
   * the next one wants them again (the cliff of least recently used caches). Null where that is not known, and for dense runs of one FFN a layer, which keep
   * whole layers instead.
   */
  readonly cycleBudgetBytes: number | null;
}

/**
 * Plans the memory of a run.
 *
 * @throws {BudgetError} `BUDGET_TOO_SMALL` with `details.smallestBudgetBytes`.
 */
export function planMemory(request: MemoryRequest): MemoryPlan {
  const { geometry, contextTokens, sequences = 1 } = request;
  const kvBytes = (precision: KvPrecision) => sequences * kvCacheBytes(geometry, precision, contextTokens);
  const units = slotUnits(request);
  const { stream = NO_STREAM } = request;
  const buffers = request.readBufferBytes + stream.leastNeurons * stream.bytesEach;
  const fixed = request.residentBytes + request.predictorBytes + buffers + request.cacheFixedBytes;
  const floor = fixed + request.activationBytes(1) + units.leastBytes;
  const choices = request.kvPrecision === "auto" ? PRECISIONS : [request.kvPrecision];
  const smallestBudgetBytes = floor + kvBytes(choices.at(-1)!);
  const widestStream = (stream.mostNeurons - stream.leastNeurons) * stream.bytesEach;
  const roomy = fixed + widestStream + request.rowTableBytes + request.activationBytes(BATCHES[0]) + units.mostBytes;
  const budget = request.budgetBytes ?? roomy + kvBytes(choices[0]!);

  const holdsAll = (choice: KvPrecision) => roomy + kvBytes(choice) <= budget;
  const fitting = choices.filter((choice) => floor + kvBytes(choice) <= budget);
  const kvPrecision = request.streamsLayers
    ? (fitting.find((choice) => choice !== "f32" || holdsAll(choice)) ?? fitting[0])
    : fitting[0];
  if (kvPrecision === undefined) throw tooSmall(request, budget, smallestBudgetBytes);
  const kvCache = kvBytes(kvPrecision);

  const beyondFloor = budget - floor - kvCache;
  // Where neurons cannot use it all, the stream takes what it wants; else a small share.
  const forStream = Math.max(beyondFloor * STREAM_SHARE, Math.min(widestStream, beyondFloor - units.spanBytes));
  const moreNeurons =
    widestStream === 0
      ? 0
      : Math.min(stream.mostNeurons - stream.leastNeurons, Math.floor(forStream / stream.bytesEach));
  const spare = beyondFloor - moreNeurons * stream.bytesEach;
  const oneToken = request.activationBytes(1);
  const widest = request.activationBytes(BATCHES[0]) - oneToken;
  // Wide batches and tables may take a share of what neurons would get, or what these cannot use anyway. The share is theirs whatever they
  // make of it: else a little more memory, just enough for the next wider batch, would leave neurons less than before.
  const most = widest + request.rowTableBytes;
  const share = request.streamsLayers ? LAYERS_EXTRA_SHARE : EXTRA_SHARE;
  const extras = Math.max(Math.min(spare * share, most), Math.min(spare - units.spanBytes, most));
  const batchTokens = BATCHES.find((batch) => batch === 1 || request.activationBytes(batch) - oneToken <= extras)!;
  const activations = request.activationBytes(batchTokens);
  const rowTablesResident = activations - oneToken + request.rowTableBytes <= extras;

  const slots = units.allocate(spare - extras);
  const bytes = {
    resident: request.residentBytes + (rowTablesResident ? request.rowTableBytes : 0),
    predictor: request.predictorBytes,
    neuronCache: units.bytesOf(slots) + request.cacheFixedBytes,
    kvCache,
    activations,
    readBuffers: buffers + moreNeurons * stream.bytesEach,
  };
  return {
    dram: { ...bytes, budget, total: totalDramBytes(bytes) },
    kvPrecision,
    contextTokens,
    sequences,
    batchTokens,
    rowTablesResident,
    streamNeurons: stream.leastNeurons + moreNeurons,
    ...slots,
    smallestBudgetBytes,
    cycleBudgetBytes: units.cycleBytes === null ? null : floor + kvCache + spareForCycle(units.cycleBytes, most),
  };
}

/** What must be left beyond the floor so that slots get `wanted` bytes more than the least, and wide batches and tables their tenth. */
function spareForCycle(wanted: number, most: number): number {
  return Math.ceil(Math.min(wanted / (1 - EXTRA_SHARE), wanted + most) / (1 - STREAM_SHARE));
}

function tooSmall(request: MemoryRequest, budget: number, smallestBudgetBytes: number): BudgetError {
  return new BudgetError(
    "BUDGET_TOO_SMALL",
    `a DRAM budget of ${formatBytes(budget)} cannot hold the resident weights and one token's working set for ` +
      `${request.contextTokens} tokens of context; the smallest budget that works is ${smallestBudgetBytes} bytes ` +
      `(${formatBytes(smallestBudgetBytes)}), or ask for fewer tokens`,
    {
      details: {
        budgetBytes: budget,
        smallestBudgetBytes,
        contextTokens: request.contextTokens,
        residentBytes: request.residentBytes,
        predictorBytes: request.predictorBytes,
      },
    },
  );
}
