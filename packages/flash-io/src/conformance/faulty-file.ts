/**
 * A file in memory on a device that fails when it is told to: once, at a given operation. Readers reach it through what they reach a file through:
 * a byte source, positional reads, a synchronous handle, a web server.
 *
 * Invariant: whatever is read was in the file at that offset, but for the one bit of a `wrong-bit`.
 */
import { type ByteSource, eventLoopTurn, IoError, Random, truncatedError } from "@flashwick/core";
import { type Fault, FaultCounter } from "./fault.js";

/** Turns of the event loop after which an answer that waits for another one comes all the same. */
const MOST_TURNS = 20;

/** How a source, or a server, is told that a file has become another. */
const CHANGED = "the file has changed; open it again";

/** The positional reads of a file, as `openFileReader` of `./node` takes them. */
export interface FaultyReads {
  /** As `openSync`: a number that stands for the file. */
  open(path: string): number;
  /** As `readSync`: bytes of the file from `offset` on go to `into`, from its byte `at` on. @returns How many, which may be fewer than `sizeBytes`. */
  read(fd: number, into: Uint8Array, at: number, sizeBytes: number, offset: number): number;
  /** As `readvSync`: fills one buffer after the other. @returns How many bytes. */
  readv(fd: number, into: readonly Uint8Array[], offset: number): number;
  /** As `closeSync`. */
  close(fd: number): void;
}

/** What of a synchronous handle readers use. */
export interface FaultyHandle {
  /** Bytes of the file from `at` on. @returns How many, which may be fewer than the buffer takes. */
  read(buffer: ArrayBufferView, options: { readonly at: number }): number;
  /** Bytes of the file. */
  getSize(): number;
  /** Gives the file back. */
  close(): void;
}

/** What a server has under the name of the file. */
interface Served {
  readonly bytes: Uint8Array;
  readonly version: number;
}

/** A file in memory whose n-th operation goes wrong. */
export class FaultyFile {
  readonly counter = new FaultCounter();
  /** What a descriptor that is open reads. */
  #inode: Uint8Array;
  /** What lies under the file's name; null: nothing. */
  #named: Served | null;
  #answers = 0;
  /** Operations that have begun and not ended, and sources and descriptors that are open. */
  #pending = 0;
  #open = 0;

  /** @param bytes Not copied, and not written to. */
  constructor(bytes: Uint8Array) {
    this.#inode = bytes;
    this.#named = { bytes, version: 1 };
  }

  /** Reads in flight. */
  get pending(): number {
    return this.#pending;
  }

  /** Sources, handles and descriptors that have been opened and not closed. */
  get open(): number {
    return this.#open;
  }

  /** The file as a source: what it reads of a file that has changed is `IO_FILE_CHANGED`, and of one that is gone `IO_NOT_FOUND`. */
  source(name = "faulty"): ByteSource {
    const opened = this.#named;
    let isOpen = true;
    this.#open++;
    return {
      name,
      sizeBytes: this.#inode.length,
      read: async (target, offset, signal) => {
        signal?.throwIfAborted();
        await this.#during(() => this.#fill(name, target, offset, opened));
        signal?.throwIfAborted();
      },
      close: async () => {
        if (isOpen) this.#open--;
        isOpen = false;
      },
    };
  }

  /** Reads of a descriptor, which a file that is replaced or deleted keeps open. They fail as a disk does (`EIO`). */
  readonly reads: FaultyReads = {
    open: () => {
      this.#open++;
      return 7;
    },
    close: () => void this.#open--,
    read: (_, into, at, sizeBytes, offset) => this.#readNow([into.subarray(at, at + sizeBytes)], offset),
    readv: (_, into, offset) => this.#readNow(into, offset),
  };

  /** A handle of a page's private file system. */
  handle(): FaultyHandle {
    this.#open++;
    return {
      read: (buffer, { at }) =>
        this.#readNow([new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)], at),
      getSize: () => this.#inode.length,
      close: () => void this.#open--,
    };
  }

  /** A web server that answers range requests, and says which version of the file it sends if `isVersioned`. */
  server(isVersioned = true): typeof fetch {
    const answer = async (_: unknown, init?: RequestInit) => {
      const range = new Headers(init?.headers).get("range") ?? "";
      const [from, to] = /^bytes=(\d+)-(\d+)$/.exec(range)!.slice(1).map(Number) as [number, number];
      return await this.#during(() => this.#answer(from, to + 1, init?.signal ?? null, isVersioned));
    };
    return answer as typeof fetch;
  }

  async #during<T>(work: () => Promise<T>): Promise<T> {
    this.#pending++;
    try {
      return await work();
    } finally {
      this.#pending--;
    }
  }

  /** Reads on after a short read, as a source must. @param opened What lay under the name when the source was opened. */
  async #fill(name: string, target: Uint8Array, offset: number, opened: Served | null): Promise<void> {
    for (let done = 0; done < target.length; ) {
      const others = this.#answers;
      const fault = this.counter.next();
      if (fault) this.#change(fault);
      if (fault?.kind === "delay") await turns(1 + (fault.seed % 5));
      if (fault?.kind === "reorder") await turns(MOST_TURNS, () => this.#answers > others);
      if (this.#named === null) throw new IoError("IO_NOT_FOUND", `${name}: no such file; check the path`);
      if (this.#named.version !== opened?.version) throw new IoError("IO_FILE_CHANGED", `${name}: ${CHANGED}`);
      const got = this.#bring([target.subarray(done)], offset + done, fault);
      if (fault?.kind === "device-error") throw new IoError("IO_READ", `${name} @ ${offset}: reading failed (EIO)`);
      if (got === 0) throw truncatedError(name, offset, target.length, this.#inode.length);
      this.#answers++;
      done += got;
    }
  }

  #readNow(into: readonly Uint8Array[], offset: number): number {
    const fault = this.counter.next();
    if (fault) this.#change(fault);
    const got = this.#bring(into, offset, fault);
    // Half of it came before the device noticed.
    if (fault?.kind === "device-error") throw Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" });
    return got;
  }

  /** Bytes of the file into memory; returns how many. */
  #bring(into: readonly Uint8Array[], offset: number, fault: Fault | null): number {
    const wanted = into.reduce((sum, { length }) => sum + length, 0);
    const isShort = fault?.kind === "short" || fault?.kind === "device-error";
    const got = Math.max(0, Math.min(isShort ? Math.ceil(wanted / 2) : wanted, this.#inode.length - offset));
    let left = got;
    let at = offset;
    for (const view of into) {
      const part = this.#inode.subarray(at, at + Math.min(left, view.length));
      view.set(part);
      if (fault?.kind === "wrong-bit" && part.length > 0 && left === got) flip(view.subarray(0, part.length), fault);
      left -= part.length;
      at += part.length;
    }
    return got;
  }

  async #answer(begin: number, end: number, signal: AbortSignal | null, isVersioned: boolean): Promise<Response> {
    const fault = this.counter.next();
    if (fault) this.#change(fault);
    const named = this.#named;
    const others = this.#answers;
    if (fault?.kind === "delay") await turns(1 + (fault.seed % 5));
    if (fault?.kind === "reorder") await turns(MOST_TURNS, () => this.#answers > others);
    signal?.throwIfAborted();
    if (fault?.kind === "device-error") throw new TypeError("fetch failed");
    this.#answers++;
    if (named === null) return new Response(null, { status: 404 });
    const body = named.bytes.slice(begin, end);
    if (body.length === 0) {
      return new Response(null, { status: 416, headers: { "content-range": `bytes */${named.bytes.length}` } });
    }
    if (fault?.kind === "wrong-bit") flip(body, fault);
    const headers = {
      "content-range": `bytes ${begin}-${begin + body.length - 1}/${named.bytes.length}`,
      ...(isVersioned && { etag: `"${named.version}"` }),
    };
    const sent = fault?.kind === "short" ? body.subarray(0, body.length >> 1) : body;
    return new Response(sent, { status: 206, headers });
  }

  /** What becomes of the file itself. */
  #change({ kind, seed }: Fault): void {
    const bytes = this.#inode;
    const version = (this.#named?.version ?? 0) + 1;
    if (kind === "shrink") this.#rewrite(bytes.subarray(0, new Random(seed).below(bytes.length)), version);
    if (kind === "grow") {
      const longer = new Uint8Array(bytes.length + 1 + (seed % 8192)).fill(0xaa);
      longer.set(bytes);
      this.#rewrite(longer, version);
    }
    if (kind === "replace") this.#named = { bytes: bytes.map((byte) => byte ^ 0x55), version };
    if (kind === "delete") this.#named = null;
  }

  #rewrite(bytes: Uint8Array, version: number): void {
    this.#inode = bytes;
    this.#named = { bytes, version };
  }
}

function flip(bytes: Uint8Array, { seed }: Fault): void {
  const random = new Random(seed);
  bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
}

/** Waits some turns of the event loop, or until `isOver`. */
async function turns(count: number, isOver = () => false): Promise<void> {
  for (let turn = 0; turn < count && !isOver(); turn++) await eventLoopTurn();
}
