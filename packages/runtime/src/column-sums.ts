/**
 * Sums over the columns of one kind of one layer, those that each token of a step uses:
 *
 *     outs[p][t] += Σ_{i ∈ S_t} coefficients[t, i] · column_p(i), ascending i
 *
 * Invariants. A column's products are added in ascending order of units whatever is resident, whatever lands when, and however a step is cut into
 * segments, and a token's coefficient of what it does not use is zero, which adds nothing. So the result is the same bit for bit whatever the cache
 * holds and whichever tokens are computed together. When anything fails half-way the cache forgets all it holds.
 *
 * What a step uses is read unit by unit, unless together its tokens lack so much that all units are rather streamed in order. A token may use more
 * units than there are slots: what finds none passes through the stage, segment by segment, and each segment is computed while the next one is read.
 */
import { paddedLength } from "@flashwick/core";
import type { CacheWave } from "@flashwick/dram-cache";
import type { FlashRun } from "@flashwick/flash-io";
import type { Ptr } from "@flashwick/kernels";
import type { ColumnSlots } from "./column-slots.js";
import type { StreamAhead, StreamStage } from "./layer-stream.js";
import { admissibleUnits } from "./pruning/admissible-units.js";
import { type ChosenUnits, type UnitUnion, unionOfUnits } from "./pruning/chosen-units.js";
import { RecordStream } from "./record-stream.js";
import type { TokenMeter } from "./token-meter.js";

export interface ColumnSumsParts {
  readonly slots: ColumnSlots;
  /** What passes through that has no slot. */
  readonly stage: StreamStage;
  /** False: a segment's reads wait until the one before is computed. */
  readonly overlap: boolean;
  /** Where the tokens of a step lack more than this share of the units together, all of them are streamed. */
  readonly streamShare: number;
}

/** What a step adds up. */
export interface ColumnRequest {
  readonly nTokens: number;
  /** f32 `[nTokens, pad(units)]`. */
  readonly coefficients: Ptr;
  /** For each part f32 `[nTokens, pad(width)]`, accumulated into. */
  readonly outs: readonly Ptr[];
  /** Room for coefficients of some units side by side, as large as all of them. */
  readonly gathered: Ptr;
  /** What each token uses; null: all units, of every token. */
  readonly chosen: readonly ChosenUnits[] | null;
  readonly signal?: AbortSignal | undefined;
}

/** Units that are computed together, and what of them is read. */
interface Segment {
  /** Ascending. */
  readonly units: Uint32Array;
  /** Slots of the cache; of what has none, which follows from the area that it is read to, {@link NO_SLOT}. */
  readonly slots: Uint32Array;
  /** Which of them are read, by index. */
  readonly picks: Uint32Array;
  /** How many of these pass through. */
  readonly passing: number;
}

/** A segment whose reads have begun. */
interface IssuedSegment extends Segment {
  readonly runs: readonly FlashRun[];
}

const NO_SLOT = 0xffffffff;

export class ColumnSums {
  /** What passes through DRAM in order. */
  readonly stream: RecordStream;
  readonly #parts: ColumnSumsParts;

  constructor(parts: ColumnSumsParts) {
    this.#parts = parts;
    this.stream = new RecordStream(parts.slots, parts.stage);
  }

  get slots(): ColumnSlots {
    return this.#parts.slots;
  }

  /**
   * @returns Whether the tokens were admitted to the cache: not where all units were streamed.
   * @throws {IntegrityError} `INTEGRITY_RECORD`. As the reader's `wait`; the signal's own reason.
   */
  async add(request: ColumnRequest, ahead: StreamAhead, meter: TokenMeter): Promise<boolean> {
    const { kernels, cache, all } = this.slots.parts;
    const { coefficients, nTokens, chosen } = request;
    try {
      const pending = kernels.take(coefficients, 4 * nTokens * paddedLength(all.length));
      if (pending) await pending;
      const union = chosen && unionOfUnits(chosen, all);
      if (union && this.#isNarrow(union)) {
        await this.#addChosen(union, request, meter);
        return true;
      }
      await this.#addInOrder(request, ahead, meter);
      return false;
    } catch (error) {
      cache.clear();
      throw error;
    }
  }

  /** Whether units are better read one by one than all in order. One token's always are. */
  #isNarrow({ sets, units }: UnitUnion): boolean {
    if (sets.length === 1) return true;
    const { cache, all } = this.slots.parts;
    const absent = units.reduce((count, unit) => count + (cache.slotOf(unit) < 0 ? 1 : 0), 0);
    return absent <= this.#parts.streamShare * all.length;
  }

  async #addInOrder(request: ColumnRequest, ahead: StreamAhead, meter: TokenMeter): Promise<void> {
    const { stream, slots } = this;
    const { cache, all, kernels, workspace, slotBase, slotBytes } = slots.parts;
    const { nTokens, signal } = request;
    const chunks = stream.streamChunks();
    if (chunks.length === 0) {
      await stream.readAbsent(ahead, meter, signal);
      this.#addListed(all, request, meter);
      return;
    }
    for (const [index, chunk] of chunks.entries()) {
      meter.enter("readWait");
      await ahead.take(stream, chunks, index, signal);
      meter.enter("cache");
      const { area, units: read } = stream.checkLanded(chunk, nTokens, meter);
      const list = kernels.arena.u32(workspace.slots, chunk.count);
      const firstStaged = (area.ptr - slotBase) / slotBytes;
      for (let i = 0, r = 0; i < chunk.count; i++) {
        list[i] = read[r] === chunk.first + i ? firstStaged + r++ : cache.slotOf(chunk.first + i);
      }
      kernels.put(workspace.slots, 4 * chunk.count);
      this.#addListed(all.subarray(chunk.first, chunk.first + chunk.count), request, meter);
      if (!stream.fillsInPlace) stream.fillFree(read, area.ptr, meter);
    }
    if (stream.fillsInPlace) stream.ownAll();
  }

  async #addChosen({ sets, units, scores }: UnitUnion, request: ColumnRequest, meter: TokenMeter): Promise<void> {
    const { cache } = this.slots;
    meter.enter("cache");
    const admitted = admissibleUnits(cache, units, scores);
    let left = admitted.length;
    let at = 0;
    let misses = 0;
    for (const wave of cache.admit(admitted === units ? sets : intersections(sets, admitted))) {
      left -= wave.neurons.length;
      const last = wave.neurons.at(-1);
      const end = left === 0 ? units.length : at + units.subarray(at).indexOf(last!) + 1;
      this.slots.prepareWave(wave);
      const segments = this.#cut(units.subarray(at, end), wave);
      misses += segments.reduce((sum, { picks }) => sum + picks.length, 0);
      await this.#addSegments(segments, request, meter);
      meter.enter("cache");
      at = end;
    }
    const named = sets.reduce((sum, { length }) => sum + length, 0);
    meter.counters.named += named;
    meter.counters.hits += named - misses;
    meter.counters.misses += misses;
    meter.counters.loaded += misses;
  }

  /** Stretches of units of which no more pass through than the stage has room for. */
  #cut(units: Uint32Array, wave: CacheWave): Segment[] {
    const { cache } = this.slots;
    const missing = new Set(Array.from(wave.misses, (index) => wave.neurons[index]!));
    const slots = Uint32Array.from(units, (unit) => {
      const slot = cache.slotOf(unit);
      return slot < 0 ? NO_SLOT : slot;
    });
    const segments: Segment[] = [];
    for (let begin = 0, end = 0; begin < units.length; begin = end) {
      const picks: number[] = [];
      let passing = 0;
      for (; end < units.length; end++) {
        const passes = slots[end] === NO_SLOT;
        if (passes && passing === this.#parts.stage.neurons) break;
        if (passes) passing++;
        if (passes || missing.has(units[end]!)) picks.push(end - begin);
      }
      const stretch = { units: units.subarray(begin, end), slots: slots.subarray(begin, end) };
      segments.push({ ...stretch, picks: Uint32Array.from(picks), passing });
    }
    return segments;
  }

  /** Of one wave, each read while the one before is computed. */
  async #addSegments(segments: readonly Segment[], request: ColumnRequest, meter: TokenMeter): Promise<void> {
    const { kernels, workspace, slotBase } = this.slots.parts;
    const { overlap } = this.#parts;
    let next = segments[0] ? this.#issue(segments[0], request, meter) : null;
    for (const index of segments.keys()) {
      const { units, slots, picks, runs } = next!;
      await this.#land(runs, meter);
      const later = segments[index + 1];
      if (later && overlap) next = this.#issue(later, request, meter);
      const list = kernels.arena.u32(workspace.slots, units.length);
      for (let i = 0; i < picks.length; i++) list[i] = slots[picks[i]!]!;
      this.slots.check(picks.length, (i) => units[picks[i]!]!, slotBase, meter);
      list.set(slots);
      kernels.put(workspace.slots, 4 * units.length);
      this.#addListed(units, request, meter);
      if (later && !overlap) next = this.#issue(later, request, meter);
    }
  }

  /** Begins to read what a segment lacks. */
  #issue(segment: Segment, { signal }: ColumnRequest, meter: TokenMeter): IssuedSegment {
    const { kernels, reader, slotBase, slotBytes } = this.slots.parts;
    const { units, slots, picks, passing } = segment;
    if (passing > 0) {
      let slot = (this.#parts.stage.nextArea().ptr - slotBase) / slotBytes;
      for (let i = 0; i < slots.length; i++) if (slots[i] === NO_SLOT) slots[i] = slot++;
    }
    const runs = this.slots.planReads(units, slots, picks);
    if (runs.length > 0) {
      // A reader without threads reads here and now.
      meter.enter("readWait");
      meter.readsIssued();
      reader.start(kernels.arena.bytes, runs, signal);
    }
    return { ...segment, runs };
  }

  async #land(runs: readonly FlashRun[], meter: TokenMeter): Promise<void> {
    if (runs.length === 0) return;
    meter.enter("readWait");
    const pending = this.slots.parts.reader.wait();
    if (pending) await pending;
    meter.readsLanded();
    meter.countReads(runs);
    meter.enter("cache");
  }

  /** Adds the columns of units whose slots are listed in `workspace.slots`. */
  #addListed(units: Uint32Array, request: ColumnRequest, meter: TokenMeter): void {
    const { kernels, workspace } = this.slots.parts;
    const { outs, gathered, nTokens } = request;
    meter.enter("ffn");
    this.#gather(units, request);
    for (const [part, matrix] of this.slots.matrices.entries()) {
      kernels.ffnDown(outs[part]!, gathered, matrix, workspace.slots, units.length, nTokens);
    }
  }

  /** gathered[t, i] = coefficients[t, units[i]], or 0 where the token does not use it. */
  #gather(units: Uint32Array, { coefficients, gathered, nTokens, chosen }: ColumnRequest): void {
    const { kernels, all } = this.slots.parts;
    const rowLength = paddedLength(units.length);
    for (let t = 0; t < nTokens; t++) {
      const from = kernels.arena.f32(coefficients + 4 * t * paddedLength(all.length), all.length);
      const to = kernels.arena.f32(gathered + 4 * t * rowLength, units.length);
      const set = chosen?.[t]?.units;
      if (!set) for (let i = 0; i < units.length; i++) to[i] = from[units[i]!]!;
      else {
        let next = 0;
        for (let i = 0; i < units.length; i++) {
          while (set[next]! < units[i]!) next++;
          to[i] = set[next] === units[i] ? from[units[i]!]! : 0;
        }
      }
    }
    kernels.put(gathered, 4 * nTokens * rowLength);
  }
}

/** What of each set is in another, all ascending. */
function intersections(sets: readonly Uint32Array[], other: Uint32Array): Uint32Array[] {
  const isIn = new Set(other);
  return sets.map((set) => set.filter((unit) => isIn.has(unit)));
}
