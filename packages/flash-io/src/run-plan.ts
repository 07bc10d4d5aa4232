/**
 * From missing neurons to flash reads, purely.
 *
 * Neighbouring neurons are neighbouring records, so a stretch of consecutive missing neurons is one contiguous read (a
 * run), whatever slots its records go to: consecutive slots make one piece, others are scattered by a vectored read.
 */

/** One contiguous read. Its bytes go to `pieces` in order. */
export interface FlashRun {
  /** Absolute file offset. */
  readonly offset: number;
  readonly sizeBytes: number;
  /** In the order of the file, without gaps: their sizes add up to `sizeBytes`. */
  readonly pieces: readonly RunPiece[];
  /** How many of the picks this run brings; 0 for reads that are not of records. */
  readonly picks: number;
}

/** A part of a run that lands in consecutive bytes of memory. */
export interface RunPiece {
  /** Byte offset into the arena. */
  readonly ptr: number;
  readonly sizeBytes: number;
}

/** Where records lie on flash and in the arena. */
export interface RecordPlaces {
  /** Absolute file offset of neuron 0's record (or half record). */
  readonly fileOffset: number;
  /** From one record to the next in the file; every byte of it is read. */
  readonly strideBytes: number;
  /** Arena pointer of slot 0 (plus the offset of this half in a slot). */
  readonly slotBase: number;
  /** From one slot to the next. */
  readonly slotBytes: number;
}

/** How runs may be shaped. */
export interface RunLimits {
  /** Longest single read; a longer run is cut. */
  readonly maxReadBytes: number;
  /** Unneeded bytes between two runs that are rather read than skipped (lessons of "access collapse": gap < t_op · bandwidth). */
  readonly maxGapBytes: number;
  /** Arena pointer of `maxGapBytes` bytes where such bytes land, over each other; unused if `maxGapBytes` is 0. */
  readonly gapPtr: number;
}

/**
 * Plans the reads of `neurons[i] -> slots[i]` for i in `picks`.
 *
 * @param neurons   Neuron numbers, ascending along `picks`.
 * @param slots     Slot of each neuron.
 * @param picks     Which entries to read, ascending indices into `neurons` and `slots`.
 * @param out       Runs are appended here, so that several halves or layers make one batch. Those of one call are in the order of
 *                  `picks`: after the first runs with n picks in all have landed, the first n picks are there.
 * Cost: O(picks).
 */
export function planRuns(
  places: RecordPlaces,
  neurons: Uint32Array,
  slots: Uint32Array,
  picks: Uint32Array,
  limits: RunLimits,
  out: FlashRun[] = [],
): FlashRun[] {
  const { strideBytes, fileOffset } = places;
  const maxRecords = Math.max(1, Math.floor(limits.maxReadBytes / strideBytes));
  const maxGap = Math.floor(limits.maxGapBytes / strideBytes);
  let i = 0;
  while (i < picks.length) {
    const first = neurons[picks[i]!]!;
    let last = first;
    let end = i + 1;
    for (; end < picks.length; end++) {
      const next = neurons[picks[end]!]!;
      if (next - last - 1 > maxGap || next - first >= maxRecords) break;
      last = next;
    }
    out.push({
      offset: fileOffset + first * strideBytes,
      sizeBytes: (last - first + 1) * strideBytes,
      pieces: planPieces(places, neurons, slots, picks.subarray(i, end), limits.gapPtr),
      picks: end - i,
    });
    i = end;
  }
  return out;
}

/** Where the bytes of one run go: records to their slots, neighbours together, and gaps aside. */
function planPieces(
  { strideBytes, slotBase, slotBytes }: RecordPlaces,
  neurons: Uint32Array,
  slots: Uint32Array,
  picks: Uint32Array,
  gapPtr: number,
): RunPiece[] {
  const pieces: RunPiece[] = [];
  const contiguousSlots = slotBytes === strideBytes;
  for (let j = 0; j < picks.length; ) {
    const neuron = neurons[picks[j]!]!;
    const slot = slots[picks[j]!]!;
    let m = 1;
    while (
      contiguousSlots &&
      j + m < picks.length &&
      neurons[picks[j + m]!] === neuron + m &&
      slots[picks[j + m]!] === slot + m
    ) {
      m++;
    }
    pieces.push({ ptr: slotBase + slot * slotBytes, sizeBytes: m * strideBytes });
    j += m;
    const gap = j < picks.length ? neurons[picks[j]!]! - (neuron + m) : 0;
    if (gap > 0) pieces.push({ ptr: gapPtr, sizeBytes: gap * strideBytes });
  }
  return pieces;
}
