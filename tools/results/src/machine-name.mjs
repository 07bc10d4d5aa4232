/** What a row of results says of the machine it was measured on. */
import { cpus } from "node:os";

/** @returns The processor's model and how many of it there are: "AMD EPYC x2". */
export function machineName() {
  const all = cpus();
  return `${all[0].model.trim()} x${all.length}`;
}
