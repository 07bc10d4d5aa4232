/** What the system and V8 count of this process. Linux. */
import { readdirSync, readFileSync } from "node:fs";

/** What must be as before when everything is closed. */
export interface ProcessCounts {
  /** Open descriptors. */
  readonly descriptors: number;
  /** Threads of the system, V8's own included. */
  readonly threads: number;
  /** WebAssembly memories that are still reachable. */
  readonly memories: number;
}

/** Resident bytes of a process, and the most that they have been. @param pid Default: this one. */
export function residentSize(pid: number | "self" = "self"): { readonly bytes: number; readonly mostBytes: number } {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const kib = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)![1]);
  return { bytes: 1024 * kib("VmRSS"), mostBytes: 1024 * kib("VmHWM") };
}

/** Descriptors of a process. */
export function descriptorCount(pid: number | "self" = "self"): number {
  // Reading the folder opens one of its own.
  return readdirSync(`/proc/${pid}/fd`).length - (pid === "self" ? 1 : 0);
}

/** Threads of a process. */
export function threadCount(pid: number | "self" = "self"): number {
  return readdirSync(`/proc/${pid}/task`).length;
}

/**
 * Counts WebAssembly memories that are made from now on, in this thread, until they are collected. Shared ones are on no counter of V8's
 * (`process.memoryUsage`), and each reserves gigabytes of addresses.
 */
export class MemoryWatch {
  readonly #before = WebAssembly.Memory;
  readonly #made: WeakRef<WebAssembly.Memory>[] = [];

  constructor() {
    const made = this.#made;
    WebAssembly.Memory = new Proxy(this.#before, {
      construct(target, args: [WebAssembly.MemoryDescriptor]) {
        const memory = new target(...args);
        made.push(new WeakRef(memory));
        return memory;
      },
    });
  }

  /** Memories in all. */
  get made(): number {
    return this.#made.length;
  }

  /** Those that are not collected. A WeakRef keeps what it gave for the rest of the job: look, and wait for the next one before collecting. */
  get alive(): number {
    return this.#made.filter((memory) => memory.deref() !== undefined).length;
  }

  /** Counts no more. */
  end(): void {
    WebAssembly.Memory = this.#before;
  }
}
