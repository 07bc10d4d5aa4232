/**
 * All interleavings of a few threads that meet in shared memory, searched state by state. The threads are the product's own code.
 *
 * A state is the shared bytes, who sleeps, and of each thread what its operations have returned so far: run again with those answers, deterministic code comes to
 * the same place, and there the next operation is tried. States that were met are not searched again. A thread whose code is a loop says where it is as it was at
 * its start (`isHome`), so that endless loops have few states.
 *
 * Others come between two operations only where that can matter: an operation on a word that no two threads share, or that nobody writes, belongs to the one
 * before it. Which words those are shows itself: whenever one turns out to be shared, the search begins again (Lipton, "Reduction", 1975).
 *
 * Sequentially consistent, as `Atomics` are. What is read and written without them belongs to the operation before it.
 *
 * What is found: an exception in a thread (its own assertions included), and a state in which nobody can go on while a thread that must end has not: a lost
 * wake-up, whatever time-outs would hide of it.
 */
import { createHash } from "node:crypto";
import { type OpHandler, type SharedMemory, type SharedOp, SUSPENDED } from "./shared-memory.js";

/** A thread of a protocol. */
export interface ExploredThread {
  readonly name: string;
  /** Its code, from the beginning; the same whenever it sees the same. */
  readonly run: () => void;
  /** It calls `SharedMemory.pause`. */
  readonly pauses?: boolean;
  /** Must come to its end; others may sleep for ever, or be told to end. */
  readonly mustEnd: boolean;
  /** Whether `op`, which comes after `before`, is done in the state in which the thread began, but for the answer to `before`. */
  readonly isHome?: (op: SharedOp, before: SharedOp | undefined) => boolean;
}

/** What is explored, and what is planted. */
export interface Exploration {
  readonly memory: SharedMemory;
  readonly threads: readonly ExploredThread[];
  /** An operation that does nothing, although its thread thinks so: a planted fault. */
  readonly sabotage?: (op: SharedOp, thread: string) => boolean;
  /** Sleeps may end by their time-outs where nobody else can go on. Default false: that is a fault. */
  readonly timeOuts?: boolean;
  readonly mostStates?: number;
}

/** What a search has come to. */
export interface Explored {
  readonly states: number;
  /** The first fault, with the operations that lead to it; null: there is none. */
  readonly fault: string | null;
}

/** An answer that a thread has had: to an operation that others may come before, to another look, or to where it is to go on. */
interface Seen {
  readonly op: SharedOp | "checkpoint" | null;
  readonly answer: unknown;
}

interface ThreadState {
  readonly seen: readonly Seen[];
  readonly status: "ready" | "asleep" | "paused" | "ended";
  /** The word that it sleeps on, and whether for a limited time. */
  readonly word: number;
  readonly isTimed: boolean;
  /** Others have changed something since its last operation. */
  readonly isStale: boolean;
}

interface State {
  readonly bytes: Uint8Array;
  readonly threads: readonly ThreadState[];
  /** Threads that sleep, longest first. */
  readonly sleepers: readonly number[];
  /** How it came about. */
  readonly from: State | null;
  readonly what: string;
}

const MOST_STATES = 400_000;
/** Loads in a row that gave the same are a spin: further ones give it, too, and nobody comes between. */
const LOADS_OF_A_SPIN = 1;

/** Searches all states. Real time does not pass: `performance.now` stands still. @throws {Error} if there are more than `mostStates`. */
export function explore(exploration: Exploration): Explored {
  const uninstall = exploration.memory.install();
  const now = performance.now;
  performance.now = () => 0;
  try {
    return search(exploration);
  } finally {
    performance.now = now;
    uninstall();
  }
}

/** Who touches a word. */
interface Touched {
  readonly by: Set<number>;
  readonly writers: Set<number>;
}

/** Words that one thread writes and another one touches: between operations on them others come. */
class SharedWords {
  readonly #touched = new Map<number, Touched>();
  readonly #shared = new Set<number>();
  /** One has been found since this was last false. */
  hasGrown = false;

  has(word: number): boolean {
    return this.#shared.has(word);
  }

  touch(thread: number, { name, word }: SharedOp): void {
    const touched = this.#touched.get(word) ?? { by: new Set(), writers: new Set() };
    this.#touched.set(word, touched);
    touched.by.add(thread);
    if (WRITES.has(name)) touched.writers.add(thread);
    if (touched.by.size < 2 || touched.writers.size === 0 || this.#shared.has(word)) return;
    this.#shared.add(word);
    this.hasGrown = true;
  }
}

const WRITES: ReadonlySet<string> = new Set(["store", "add", "sub", "compareExchange", "exchange"]);

function search(exploration: Exploration): Explored {
  const shared = new SharedWords();
  const zeros = exploration.memory.bytes.slice();
  for (;;) {
    exploration.memory.bytes.set(zeros);
    shared.hasGrown = false;
    const found = searchOnce(exploration, shared);
    if (found !== null) return found;
  }
}

/** @returns Null if a word has turned out to be shared. */
function searchOnce(exploration: Exploration, shared: SharedWords): Explored | null {
  const { memory, threads, mostStates = MOST_STATES } = exploration;
  const fresh: ThreadState = { seen: [], status: "ready", word: -1, isTimed: false, isStale: false };
  const first = { bytes: memory.bytes.slice(), threads: threads.map(() => fresh), sleepers: [], from: null, what: "" };
  const met = new Set([keyOf(first)]);
  // Breadth first: a fault is found by its shortest way, also where a planted one makes ways endless.
  let level: State[] = [first];
  while (level.length > 0) {
    const next: State[] = [];
    for (const state of level) {
      const { followers, fault } = follow(exploration, shared, state);
      if (shared.hasGrown) return null;
      if (fault !== null) return { states: met.size, fault };
      for (const follower of followers) {
        const key = keyOf(follower);
        if (met.has(key)) continue;
        met.add(key);
        next.push(follower);
      }
      if (met.size > mostStates) throw new Error(`more than ${mostStates} states`);
    }
    level = next;
  }
  return { states: met.size, fault: null };
}

/** The states that may come after one; or the fault that it is, or that comes next. */
function follow(
  exploration: Exploration,
  shared: SharedWords,
  state: State,
): { followers: readonly State[]; fault: string | null } {
  const { threads, timeOuts = false } = exploration;
  const ready = threads.flatMap((_, i) => (state.threads[i]!.status === "ready" ? [i] : []));
  if (ready.length > 0) {
    const steps = ready.map((i) => new Step(exploration, shared, state, i).take());
    const bad = steps.find(({ fault }) => fault !== null);
    return { followers: steps.map(({ next }) => next), fault: bad ? `${bad.fault}:${pathTo(bad.next)}` : null };
  }
  const late = timeOuts ? timedOut(state) : [];
  const left = threads.filter(({ mustEnd }, i) => mustEnd && state.threads[i]!.status !== "ended");
  const isStuck = left.length > 0 && late.length === 0;
  const fault = isStuck ? `nobody wakes ${left.map(({ name }) => name).join(", ")}:${pathTo(state)}` : null;
  return { followers: late, fault };
}

/** One thread's next operation, and what belongs to it. */
class Step implements OpHandler {
  readonly #exploration: Exploration;
  readonly #shared: SharedWords;
  readonly #state: State;
  readonly #index: number;
  #seen: Seen[];
  /** How many answers the code has had; the first are those of `#seen`. */
  #given = 0;
  #hasActed = false;
  #isSuspended = false;
  #status: ThreadState["status"] = "ready";
  #word = -1;
  #isTimed = false;
  #what = "";
  #woken: readonly number[] = [];

  constructor(exploration: Exploration, shared: SharedWords, state: State, index: number) {
    this.#exploration = exploration;
    this.#shared = shared;
    this.#state = state;
    this.#index = index;
    this.#seen = [...state.threads[index]!.seen];
  }

  take(): { readonly next: State; readonly fault: string | null } {
    const { memory, threads } = this.#exploration;
    memory.bytes.set(this.#state.bytes);
    let fault: string | null = null;
    try {
      memory.run(this, threads[this.#index]!.run);
      // A thread may catch what it throws itself, and so what suspends it.
      if (!this.#isSuspended) this.#status = "ended";
    } catch (error) {
      if (!this.#isSuspended) fault = `${threads[this.#index]!.name} throws ${String(error)}`;
    }
    return { next: this.#next(), fault };
  }

  atomic(op: SharedOp): number | string {
    if (this.#isSuspended) throw SUSPENDED;
    const spun = this.#spun(op);
    if (spun !== undefined) return spun;
    if (this.#given < this.#seen.length) return this.#seen[this.#given++]!.answer as number | string;
    this.#shared.touch(this.#index, op);
    if (this.#hasActed && this.#concernsOthers(op)) this.#suspend();
    this.#goHome(op);
    this.#hasActed = true;
    const { name } = this.#exploration.threads[this.#index]!;
    this.#what += `${this.#what === "" ? name : ","} ${op.name} ${op.word} ${op.operands.join(" ")}`;
    const isVain = this.#exploration.sabotage?.(op, name) ?? false;
    return this.#note(op, isVain ? vainAnswer(op, this.#exploration.memory.words) : this.#execute(op));
  }

  #concernsOthers({ name, word }: SharedOp): boolean {
    return name === "wait" || name === "notify" || name === "pause" || this.#shared.has(word);
  }

  plain<T>(work: () => T): T {
    if (this.#isSuspended) throw SUSPENDED;
    if (this.#given < this.#seen.length) return this.#seen[this.#given++]!.answer as T;
    return this.#note(null, work());
  }

  checkpoint(at: number): void {
    if (this.#isSuspended) throw SUSPENDED;
    this.#seen = [{ op: "checkpoint", answer: at }];
    this.#given = 1;
  }

  resume(): number {
    const [first] = this.#seen;
    if (first?.op !== "checkpoint") return 0;
    this.#given = 1;
    return first.answer as number;
  }

  #suspend(): never {
    this.#isSuspended = true;
    throw SUSPENDED;
  }

  #note<T>(op: SharedOp | null, answer: T): T {
    this.#seen.push({ op, answer });
    this.#given = this.#seen.length;
    return answer;
  }

  /** The answer of a load that has been given often enough in a row. */
  #spun(op: SharedOp): number | undefined {
    if (op.name !== "load") return undefined;
    if (this.#given < LOADS_OF_A_SPIN) return undefined;
    const { answer } = this.#seen[this.#given - 1]!;
    for (let i = 1; i <= LOADS_OF_A_SPIN; i++) {
      const { op: one, answer: before } = this.#seen[this.#given - i]!;
      if (one === null || one === "checkpoint" || one.name !== "load" || one.word !== op.word || before !== answer)
        return undefined;
    }
    return answer as number;
  }

  #goHome(op: SharedOp): void {
    const before = this.#seen[this.#given - 1];
    if (!this.#exploration.threads[this.#index]!.isHome?.(op, opOf(before))) return;
    const from = this.#seen.filter(({ op: one }) => one === "checkpoint");
    this.#seen = before && before.op !== "checkpoint" ? [...from, before] : from;
    this.#given = this.#seen.length;
  }

  #execute({ name, word, operands: [a, b] }: SharedOp): number | string {
    const { words } = this.#exploration.memory;
    const old = words[word]!;
    switch (name) {
      case "load":
        return old;
      case "store":
        words[word] = a!;
        return a!;
      case "exchange":
        words[word] = a!;
        return old;
      case "add":
        words[word] = old + a!;
        return old;
      case "sub":
        words[word] = old - a!;
        return old;
      case "compareExchange":
        if (old === a) words[word] = b!;
        return old;
      case "notify":
        return this.#notify(word, a ?? Number.POSITIVE_INFINITY);
      case "wait":
        if (old !== a) return "not-equal";
        this.#status = "asleep";
        this.#word = word;
        this.#isTimed = b !== undefined && b < Number.POSITIVE_INFINITY;
        return this.#suspend();
      case "pause":
        if (this.#state.threads[this.#index]!.isStale) return 0;
        this.#status = "paused";
        return this.#suspend();
    }
  }

  #notify(word: number, count: number): number {
    const sleeping = this.#state.sleepers.filter((i) => this.#state.threads[i]!.word === word);
    this.#woken = sleeping.slice(0, count);
    return this.#woken.length;
  }

  #next(): State {
    const { bytes } = this.#exploration.memory;
    const hasChanged = Buffer.compare(bytes, this.#state.bytes) !== 0;
    const threads = this.#state.threads.map((thread, i): ThreadState => {
      if (i === this.#index)
        return { seen: this.#seen, status: this.#status, word: this.#word, isTimed: this.#isTimed, isStale: false };
      if (this.#woken.includes(i)) return awake(thread, { name: "wait", word: thread.word, operands: [] }, "ok");
      if (thread.status === "paused" && hasChanged) return awake(thread, { name: "pause", word: -1, operands: [] }, 0);
      return hasChanged && this.#exploration.threads[i]!.pauses ? { ...thread, isStale: true } : thread;
    });
    const sleepers = this.#state.sleepers.filter((i) => !this.#woken.includes(i));
    if (this.#status === "asleep") sleepers.push(this.#index);
    return { bytes: bytes.slice(), threads, sleepers, from: this.#state, what: this.#what };
  }
}

function opOf(seen: Seen | undefined): SharedOp | undefined {
  return seen === undefined || seen.op === null || seen.op === "checkpoint" ? undefined : seen.op;
}

function awake({ seen }: ThreadState, op: SharedOp, answer: unknown): ThreadState {
  return { seen: [...seen, { op, answer }], status: "ready", word: -1, isTimed: false, isStale: false };
}

/** What follows if a sleep ends by its time-out, for each that may. */
function timedOut(state: State): State[] {
  return state.sleepers
    .filter((i) => state.threads[i]!.isTimed)
    .map((i) => {
      const op: SharedOp = { name: "wait", word: state.threads[i]!.word, operands: [] };
      const threads = state.threads.with(i, awake(state.threads[i]!, op, "timed-out"));
      const sleepers = state.sleepers.filter((other) => other !== i);
      return { ...state, threads, sleepers, from: state, what: `thread ${i}: its sleep times out` };
    });
}

/** What an operation returns that does nothing: what it would, as far as its thread can tell. */
function vainAnswer({ name, word, operands }: SharedOp, words: Int32Array): number | string {
  if (name === "compareExchange") return operands[0]!;
  if (name === "wait") return "ok";
  return name === "store" || name === "notify" ? 0 : words[word]!;
}

function keyOf({ bytes, threads, sleepers }: State): string {
  let text = sleepers.join();
  for (const { seen, status, word, isStale } of threads) {
    text += `|${status} ${word} ${isStale}|`;
    for (const { answer } of seen) text += `${answer},`;
  }
  return createHash("sha1").update(bytes).update(text).digest("base64");
}

function pathTo(state: State): string {
  const lines: string[] = [];
  for (let at: State | null = state; at?.from; at = at.from) lines.push(`\n  ${at.what}`);
  return lines.reverse().join("");
}
