/** What a memory plan gives out in slots: neurons of one size, columns of two, or in a mixture experts of each layer's own. Pure. */
import type { MemoryRequest, PlannedColumns, PlannedExperts } from "./memory-request.js";
import { allocateByDemand, allocateWholeLayers } from "./slot-allocation.js";

/** Fewest slots a layer works with: its neurons then stream through in waves of this many. */
export const MIN_SLOTS_PER_LAYER = 4;
/**
 * Of a layer of experts, which are hundreds of times as large: they pass one by one. Only from two on is one computed while the next is read, which the
 * cost model knows; to open at all, one is enough.
 */
export const MIN_EXPERT_SLOTS_PER_LAYER = 1;

/** What a memory plan says of slots. */
interface SlotCounts {
  readonly slotsByLayer: readonly number[];
  readonly inputSlotsByLayer: readonly number[];
}

/** What is kept in slots. */
export interface SlotUnits {
  /** Of the fewest slots, and of all there could be. */
  readonly leastBytes: number;
  readonly mostBytes: number;
  /** Between the two. */
  readonly spanBytes: number;
  /** What slots of all that one token names take beyond the fewest; null where that is everything. */
  readonly cycleBytes: number | null;
  /** Slots by layer, for so many bytes beyond the fewest. */
  readonly allocate: (bytes: number) => SlotCounts;
  readonly bytesOf: (slots: SlotCounts) => number;
}

export function slotUnits(request: MemoryRequest): SlotUnits {
  if (request.columns) return columnUnits(request, request.columns);
  return request.experts ? expertUnits(request.experts, request.slotOverheadBytes) : neuronUnits(request);
}

/** Neurons: slots of one size. */
function neuronUnits({ geometry, weights, slotOverheadBytes, namedShareByLayer }: MemoryRequest): SlotUnits {
  const slotBytes = weights.slotBytes + slotOverheadBytes;
  const widths = geometry.layers.map(({ ffn }) => ffn.dFf);
  const least = widths.map((dFf) => Math.min(MIN_SLOTS_PER_LAYER, dFf));
  const [minSlots, maxSlots] = [total(least), total(widths)];
  const isKnown = namedShareByLayer !== null && namedShareByLayer !== "even";
  const known = isKnown ? namedShareByLayer.map((share, layer) => share * widths[layer]!) : null;
  const named = namedShareByLayer === "even" ? widths : known;
  const cycle = known?.map((neurons, layer) => Math.max(least[layer]!, Math.ceil(neurons)));
  return {
    leastBytes: minSlots * slotBytes,
    mostBytes: maxSlots * slotBytes,
    spanBytes: (maxSlots - minSlots) * slotBytes,
    cycleBytes: cycle ? (total(cycle) - minSlots) * slotBytes : null,
    allocate: (bytes) => {
      const slots = Math.min(maxSlots, minSlots + Math.floor(bytes / slotBytes));
      const slotsByLayer = named
        ? allocateByDemand(named, widths, slots, MIN_SLOTS_PER_LAYER)
        : allocateWholeLayers(widths, slots, MIN_SLOTS_PER_LAYER);
      return { slotsByLayer, inputSlotsByLayer: [] };
    },
    bytesOf: ({ slotsByLayer }) => total(slotsByLayer) * slotBytes,
  };
}

/** Columns: the same share of every layer's inputs and of its neurons, whatever a slot of either takes. */
function columnUnits(
  { geometry, slotOverheadBytes }: MemoryRequest,
  { inputs, inputSlotBytes, outputSlotBytes }: PlannedColumns,
): SlotUnits {
  const { layers } = geometry;
  const counts = [...layers.map(() => inputs), ...layers.map(({ ffn }) => ffn.dFf)];
  const costs = [...layers.map(() => inputSlotBytes), ...layers.map(() => outputSlotBytes)].map(
    (bytes) => bytes + slotOverheadBytes,
  );
  const costOf = (slots: readonly number[]) => total(slots.map((n, i) => n * costs[i]!));
  const leastBytes = costOf(counts.map((count) => Math.min(MIN_SLOTS_PER_LAYER, count)));
  const mostBytes = costOf(counts);
  return {
    leastBytes,
    mostBytes,
    spanBytes: mostBytes - leastBytes,
    cycleBytes: null,
    allocate: (bytes) => {
      const most = Math.min(mostBytes, leastBytes + Math.floor(bytes));
      const slots = allocateByDemand(counts, counts, most, MIN_SLOTS_PER_LAYER, costs);
      return { slotsByLayer: slots.slice(layers.length), inputSlotsByLayer: slots.slice(0, layers.length) };
    },
    bytesOf: ({ slotsByLayer, inputSlotsByLayer }) => costOf([...inputSlotsByLayer, ...slotsByLayer]),
  };
}

/** Experts: slots of each layer's own size, shared out in proportion to what a token chooses. */
function expertUnits(
  { countByLayer, chosenByLayer, slotBytesByLayer }: PlannedExperts,
  slotOverheadBytes: number,
): SlotUnits {
  const costs = slotBytesByLayer.map((bytes) => bytes + slotOverheadBytes);
  const costOf = (slots: readonly number[]) => total(slots.map((n, layer) => n * costs[layer]!));
  const leastBytes = costOf(countByLayer.map((count) => Math.min(MIN_EXPERT_SLOTS_PER_LAYER, count)));
  const mostBytes = costOf(countByLayer);
  return {
    leastBytes,
    mostBytes,
    spanBytes: mostBytes - leastBytes,
    cycleBytes: costOf(chosenByLayer) - leastBytes,
    allocate: (bytes) => {
      const most = Math.min(mostBytes, leastBytes + Math.floor(bytes));
      const slotsByLayer = allocateByDemand(chosenByLayer, countByLayer, most, MIN_EXPERT_SLOTS_PER_LAYER, costs);
      return { slotsByLayer, inputSlotsByLayer: [] };
    },
    bytesOf: ({ slotsByLayer }) => costOf(slotsByLayer),
  };
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((sum, n) => sum + n, 0);
}
