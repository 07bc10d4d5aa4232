/**
 * Which token used each slot's neuron last, the order in which slots are given up that follows from it, and how far
 * back the tokens go whose neurons are all still there.
 *
 * Each layer has a list of its slots in use, by last use and, within a token, by neuron; one layer unless the cache is a
 * pool. Stamp 0 is no token's: such slots come first, what was put there last before all others. While a wave is decided
 * its resident neurons are off the list, which is why they cannot be evicted.
 *
 * Tokens are counted in steps, of one token or of several that are admitted together. In a pool a step goes from layer
 * to layer: it lasts while the layers that are admitted rise. The stamps that the last step has changed are kept as they
 * were, so that tokens of it can be taken back.
 */
import { NO_SLOT, RecencyList } from "./recency-list.js";
import { ABSENT, type SlotTable } from "./slot-table.js";
import { lowerBound } from "./token-sets.js";

export class LastUse {
  /** The paper's `last_k_active`, as a number instead of a set: the window is read off it. 0 where no neuron is. */
  readonly lastKActive: Uint32Array;
  /** One for each layer. */
  readonly list: RecencyList;
  readonly nLayers: number;
  readonly #unitsPerLayer: number;
  readonly #table: SlotTable;
  /** Of slots that the last step has stamped: the stamp before; 0 for what the step read. */
  readonly #stampBefore: Uint32Array;
  #token = 0;
  /** The layer that was admitted last, and whether its step is over, so that the next admit begins another one. */
  #layer = 0;
  #isOver = true;
  /** The last token before the last step. */
  #tokenBefore = 0;
  /** The last token that has lost a neuron to pressure (or to `clear`). */
  #brokenToken = 0;
  /**
   * The last token before the last step that has lost a neuron, to pressure or, in this step, to the window: see
   * `retract`.
   */
  #brokenBefore = 0;

  /** @param nLayers Divides the number of neurons. */
  constructor(table: SlotTable, nLayers: number) {
    const slotCount = table.pointer.length;
    this.#table = table;
    this.nLayers = nLayers;
    this.#unitsPerLayer = table.slotOf.length / nLayers;
    this.lastKActive = new Uint32Array(slotCount);
    this.#stampBefore = new Uint32Array(slotCount);
    this.list = new RecencyList(slotCount, nLayers);
  }

  /** Number of the last token; they count from 1. */
  get token(): number {
    return this.#token;
  }

  /** Number of the last token before the last step. */
  get tokenBefore(): number {
    return this.#tokenBefore;
  }

  /** The layer that was admitted last. */
  get layer(): number {
    return this.#layer;
  }

  /** How many of the last tokens have lost no neuron to pressure. */
  get unbrokenTokens(): number {
    return this.#token - this.#brokenToken;
  }

  layerOf(neuron: number): number {
    return this.nLayers === 1 ? 0 : Math.floor(neuron / this.#unitsPerLayer);
  }

  /** True if the last admit has used the slot's neuron. */
  isOfStep(slot: number): boolean {
    if (this.#isOver || this.lastKActive[slot]! <= this.#tokenBefore) return false;
    return this.nLayers === 1 || this.layerOf(this.#table.pointer[slot]!) === this.#layer;
  }

  /** True if a layer belongs to the step in progress, whose layers rise. */
  continuesWith(layer: number): boolean {
    return !this.#isOver && layer > this.#layer;
  }

  clear(): void {
    this.list.clear();
    this.lastKActive.fill(0);
    this.#brokenToken = this.#token;
    this.#isOver = true;
  }

  /** Begins a step, or goes on with the one in progress. */
  beginStep(tokens: number, layer: number): void {
    const goesOn = this.continuesWith(layer);
    this.#layer = layer;
    this.#isOver = false;
    if (goesOn) return;
    this.#tokenBefore = this.#token;
    this.#token += tokens;
    this.#brokenBefore = this.#brokenToken;
  }

  /** Begins a step that puts nothing above what came before: every slot is off the list, and no token's. */
  beginAnew(tokens: number): void {
    this.#isOver = true;
    this.beginStep(tokens, 0);
    this.#isOver = true;
    this.list.clear();
    this.lastKActive.fill(0, 0, this.#table.numUsed);
  }

  /** Makes slots of the step's layer that are off the list the most recently used, by the step's last token. */
  use(slots: Uint32Array): void {
    const [lastKActive, stampBefore] = [this.lastKActive, this.#stampBefore];
    const [token, tokenBefore] = [this.#token, this.#tokenBefore];
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i]!;
      const stamp = lastKActive[slot]!;
      if (stamp <= tokenBefore) stampBefore[slot] = stamp;
      lastKActive[slot] = token;
    }
    this.list.appendAll(slots, this.#layer);
  }

  /** Makes slots that are off the list the first to go, no token's; the first of them before the others. */
  leaveUnused(slots: Uint32Array): void {
    for (let i = slots.length - 1; i >= 0; i--) {
      const slot = slots[i]!;
      this.lastKActive[slot] = this.#stampBefore[slot] = 0;
      this.list.prepend(slot, this.layerOf(this.#table.pointer[slot]!));
    }
  }

  /**
   * Stamps and orders what is resident of the step's sets, all of it on the list, by the last set that each neuron is
   * in.
   *
   * @param sets      Oldest first, one for each token of the step.
   * @param leastOnly Only neurons from this one on.
   */
  useInTurn(sets: readonly Uint32Array[], leastOnly = 0): void {
    const [slotOf, list] = [this.#table.slotOf, this.list];
    const [lastKActive, stampBefore, tokenBefore] = [this.lastKActive, this.#stampBefore, this.#tokenBefore];
    for (let t = 0; t < sets.length; t++) {
      const set = sets[t]!;
      for (let i = lowerBound(set, leastOnly); i < set.length; i++) {
        const neuron = set[i]!;
        const slot = slotOf[neuron]!;
        if (slot === ABSENT) continue;
        const stamp = lastKActive[slot]!;
        if (stamp <= tokenBefore) stampBefore[slot] = stamp;
        lastKActive[slot] = tokenBefore + t + 1;
        list.remove(slot);
        list.append(slot, this.layerOf(neuron));
      }
    }
  }

  /**
   * Takes a slot off the list whose neuron leaves.
   *
   * @param pressed For want of room, which shortens the effective window.
   */
  leave(slot: number, pressed: boolean): void {
    const stamp = this.lastKActive[slot]!;
    if (pressed && stamp > this.#brokenToken) this.#brokenToken = stamp;
    const before = stamp > this.#tokenBefore ? this.#stampBefore[slot]! : stamp;
    if (before > this.#brokenBefore) this.#brokenBefore = before;
    this.lastKActive[slot] = 0;
    this.list.remove(slot);
  }

  /** Carries out moves, pairs (from, to) of slots; `to` is off the list. */
  move(moves: Uint32Array): void {
    for (let i = 0; i < moves.length; i += 2) {
      const [from, to] = [moves[i]!, moves[i + 1]!];
      this.lastKActive[to] = this.lastKActive[from]!;
      this.lastKActive[from] = 0;
      this.#stampBefore[to] = this.#stampBefore[from]!;
      this.list.replace(from, to);
    }
  }

  /** After `beginAnew`: the effective window begins behind the last token of which something is absent. */
  breakAtAbsent(sets: readonly Uint32Array[]): void {
    this.#brokenToken = this.#tokenBefore;
    this.#breakAt(sets);
  }

  /**
   * Takes back all but the first `remaining` tokens of the last step, which is over then; for each of its layers,
   * `retractLayer` follows.
   */
  beginRetract(remaining: number): void {
    this.#token = this.#tokenBefore + remaining;
    this.#brokenToken = this.#brokenBefore;
    this.#isOver = true;
  }

  /**
   * Stamps and order of a layer become as if the tokens that are taken back had never been. The effective window ends
   * where something is missing that the step has pushed out, or that left the window with tokens that now are none.
   *
   * @param sets    What remains of the step's sets of the layer, oldest first.
   * @param neurons The union of all sets that the step had of it, ascending.
   * Cost: O(n log n) for the n neurons, and a look at the slots that were used since the oldest of the stamps that come
   * back.
   */
  retractLayer(layer: number, sets: readonly Uint32Array[], neurons: Uint32Array): void {
    const { slotOf } = this.#table;
    const [list, lastKActive] = [this.list, this.lastKActive];
    for (const neuron of neurons) {
      const slot = slotOf[neuron]!;
      if (slot === ABSENT) continue;
      list.remove(slot);
      lastKActive[slot] = this.#stampBefore[slot]!;
    }
    this.#forEachUse(sets, (slot, token) => {
      lastKActive[slot] = token;
    });
    this.#putBack(layer, neurons);
    this.#forEachUse(sets, (slot, token) => {
      if (lastKActive[slot] === token) list.append(slot, layer);
    });
    this.#breakAt(sets);
  }

  /** Puts those of `neurons` that the step does not use any more where their stamps say. */
  #putBack(layer: number, neurons: Uint32Array): void {
    const { slotOf, pointer, moves } = this.#table;
    const [list, lastKActive] = [this.list, this.lastKActive];
    // Sorted as numbers, since a comparator would cost more than all else. The room is that of the moves, which are
    // long done.
    const keys = new Float64Array(moves.buffer);
    const keyOf = (slot: number) => lastKActive[slot]! * slotOf.length + pointer[slot]!;
    let count = 0;
    for (const neuron of neurons) {
      const slot = slotOf[neuron]!;
      if (slot === ABSENT) continue;
      const stamp = lastKActive[slot]!;
      if (stamp > 0 && stamp <= this.#tokenBefore) keys[count++] = keyOf(slot);
    }
    keys.subarray(0, count).sort();
    for (let i = count - 1, place = list.last(layer); i >= 0; i--) {
      while (place !== NO_SLOT && keyOf(place) > keys[i]!) place = list.before(place);
      list.insertAfter(place, slotOf[keys[i]! % slotOf.length]!, layer);
    }
    for (let i = neurons.length - 1; i >= 0; i--) {
      const slot = slotOf[neurons[i]!]!;
      if (slot !== ABSENT && lastKActive[slot] === 0) list.prepend(slot, layer);
    }
  }

  #forEachUse(sets: readonly Uint32Array[], use: (slot: number, token: number) => void): void {
    for (const [t, set] of sets.entries()) {
      for (const neuron of set) {
        const slot = this.#table.slotOf[neuron]!;
        if (slot !== ABSENT) use(slot, this.#tokenBefore + t + 1);
      }
    }
  }

  #breakAt(sets: readonly Uint32Array[]): void {
    const isAbsent = (neuron: number) => this.#table.slotOf[neuron] === ABSENT;
    const last = sets.findLastIndex((set) => set.some(isAbsent));
    if (last >= 0) this.#brokenToken = Math.max(this.#brokenToken, this.#tokenBefore + last + 1);
  }
}
