/** What a figure was measured on: no row is worth anything without it. */
import { cpus } from "node:os";

export interface Machine {
  /** As the processor calls itself. */
  readonly cpu: string;
  readonly cores: number;
  /** `v20.20.2`. */
  readonly node: string;
}

export function readMachine(): Machine {
  const cores = cpus();
  return { cpu: cores[0]?.model ?? "?", cores: cores.length, node: process.version };
}
