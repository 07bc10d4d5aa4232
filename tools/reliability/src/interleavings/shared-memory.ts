/**
 * Shared memory in a checker's hands: the product's code runs on it unchanged, and stops before whatever operation it should not do yet.
 *
 * `Atomics`, `SharedArrayBuffer` and the typed arrays are replaced while threads are explored. Each look at the shared buffer goes through the thread
 * that is being run, which either answers from what the thread has seen before, or does it, or throws {@link SUSPENDED}: code cannot be stopped in the middle
 * otherwise. Whatever catches that meets it again at its next look.
 */

/** Thrown into a thread that may not go on. */
export const SUSPENDED = Symbol("suspended");

/** What threads do with shared memory between which others may do something. */
export type OpName = "load" | "store" | "add" | "sub" | "compareExchange" | "exchange" | "wait" | "notify" | "pause";

/** An operation, as a sabotage or a trace sees it. */
export interface SharedOp {
  readonly name: OpName;
  /** Of a word of 32 bits, in the buffer. */
  readonly word: number;
  readonly operands: readonly number[];
}

/** The thread that runs. */
export interface OpHandler {
  /** An operation that others may come before. */
  atomic(op: SharedOp): number | string;
  /** Anything else that is shared: it belongs to the operation before it. */
  plain<T>(work: () => T): T;
  /** As {@link SharedMemory.checkpoint} and {@link SharedMemory.resume}. */
  checkpoint(at: number): void;
  resume(): number;
}

type TypedArray = Int32Array | Float64Array | Uint8Array;

/** One shared buffer, and everything through which code reaches it. */
export class SharedMemory {
  /** Its bytes at present. */
  readonly bytes: Uint8Array;
  /** What stands for the buffer in the code. */
  readonly buffer: SharedArrayBuffer;
  readonly words: Int32Array;
  readonly #own: ArrayBuffer;
  readonly #views = new Map<string, TypedArray>();
  readonly #viewed = new WeakMap<object, TypedArray>();
  #handler: OpHandler | null = null;

  constructor(sizeBytes: number) {
    this.#own = new ArrayBuffer(sizeBytes);
    this.bytes = new Uint8Array(this.#own);
    this.words = new Int32Array(this.#own);
    this.buffer = { byteLength: sizeBytes } as unknown as SharedArrayBuffer;
  }

  /** Runs `work` with everything that is shared in the hands of `handler`. */
  run(handler: OpHandler, work: () => void): void {
    const before = this.#handler;
    this.#handler = handler;
    try {
      work();
    } finally {
      this.#handler = before;
    }
  }

  /** A point at which a thread waits until anything shared changes: what stands for a turn of the event loop. */
  pause(): void {
    this.#handler!.atomic({ name: "pause", word: -1, operands: [] });
  }

  /** The thread's code has no memory of its own but `at`: where {@link resume} gives that, it goes on as from here. */
  checkpoint(at: number): void {
    this.#handler!.checkpoint(at);
  }

  /** The last checkpoint, 0 if there is none; the first thing that a thread asks. */
  resume(): number {
    return this.#handler!.resume();
  }

  /** Puts this buffer in the place of shared memory. @returns What takes it out again. */
  install(): () => void {
    const scope = globalThis as unknown as Record<string, unknown>;
    const atomics = Atomics as unknown as Record<string, unknown>;
    const names = ["load", "store", "add", "sub", "compareExchange", "exchange", "wait", "notify"] as const;
    const real = Object.fromEntries(names.map((name) => [name, atomics[name]]));
    const constructors = { Int32Array, Float64Array, Uint8Array };
    const { SharedArrayBuffer: realBuffer } = globalThis;
    for (const name of names) atomics[name] = this.#hookOf(name, real[name] as (...operands: unknown[]) => unknown);
    for (const [name, Real] of Object.entries(constructors)) scope[name] = this.#constructorOf(name, Real);
    const { buffer } = this;
    scope.SharedArrayBuffer = function theSharedBuffer() {
      return buffer;
    };
    return () => {
      Object.assign(atomics, real);
      Object.assign(scope, constructors, { SharedArrayBuffer: realBuffer });
    };
  }

  #hookOf(name: OpName, real: (...operands: unknown[]) => unknown) {
    return (array: TypedArray, index: number, ...operands: number[]) => {
      const view = this.#viewed.get(array);
      if (view === undefined) return real(array, index, ...operands);
      return this.#handler!.atomic({ name, word: view.byteOffset / 4 + index, operands });
    };
  }

  #constructorOf(name: string, Real: Int32ArrayConstructor | Float64ArrayConstructor | Uint8ArrayConstructor): unknown {
    const viewOf = (offset: number, length: number | undefined) => this.#viewOf(name, Real, offset, length);
    const { buffer } = this;
    return new Proxy(Real, {
      construct(target, operands: unknown[]) {
        if (operands[0] !== buffer) return Reflect.construct(target, operands) as object;
        return viewOf((operands[1] as number | undefined) ?? 0, operands[2] as number | undefined);
      },
    });
  }

  #viewOf(
    name: string,
    Real: Int32ArrayConstructor | Float64ArrayConstructor | Uint8ArrayConstructor,
    offset: number,
    length: number | undefined,
  ): TypedArray {
    const key = `${name} ${offset} ${length}`;
    const known = this.#views.get(key);
    if (known) return known;
    const view = new Real(this.#own, offset, length);
    const plain = <T>(work: () => T): T => this.#handler!.plain(work);
    const proxy = new Proxy(view, {
      get(target, property) {
        const index = typeof property === "string" ? Number(property) : Number.NaN;
        if (Number.isInteger(index)) return plain(() => target[index]);
        const value = Reflect.get(target, property) as unknown;
        if (typeof value !== "function") return value;
        return (...operands: unknown[]) =>
          plain(() => (value as (...of: unknown[]) => unknown).apply(target, operands));
      },
      set(target, property, value: number) {
        plain(() => {
          target[Number(property)] = value;
        });
        return true;
      },
    });
    this.#views.set(key, proxy);
    this.#viewed.set(proxy, view);
    return proxy;
  }
}
