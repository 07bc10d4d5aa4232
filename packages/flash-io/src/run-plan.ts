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
  readonly pieces: readonly RunPiece[];
}

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

/**
 * Plans the reads of `neurons[i] -> slots[i]` for i in `picks`.
 *
 * @param neurons   Neuron numbers, ascending along `picks`.
 * @param slots     Slot of each neuron.
 * @param picks     Which entries to read, ascending indices into `neurons` and `slots`.
 * @param maxBytes  Longest single read; a longer run is cut.
 * @param out       Runs are appended here, so that several halves or layers make one batch.
 * Cost: O(picks).
 */
export function planRuns(
  places: RecordPlaces,
  neurons: Uint32Array,
  slots: Uint32Array,
  picks: Uint32Array,
  maxBytes: number,
  out: FlashRun[] = [],
): FlashRun[] {
  const { strideBytes, slotBytes, slotBase, fileOffset } = places;
  const maxRecords = Math.max(1, Math.floor(maxBytes / strideBytes));
  const contiguousSlots = slotBytes === strideBytes;
  let i = 0;
  while (i < picks.length) {
    const first = neurons[picks[i]!]!;
    let n = 1;
    while (i + n < picks.length && n < maxRecords && neurons[picks[i + n]!] === first + n) n++;
    const pieces: RunPiece[] = [];
    for (let j = 0; j < n; ) {
      const slot = slots[picks[i + j]!]!;
      let m = 1;
      while (contiguousSlots && j + m < n && slots[picks[i + j + m]!] === slot + m) m++;
      pieces.push({ ptr: slotBase + slot * slotBytes, sizeBytes: m * strideBytes });
      j += m;
    }
    out.push({ offset: fileOffset + first * strideBytes, sizeBytes: n * strideBytes, pieces });
    i += n;
  }
  return out;
}
