/** `flashwick doctor`: what this machine can do, what each missing piece would bring, and whether the kernels compute what they must. */
import { stat } from "node:fs/promises";
import { InputError } from "@flashwick/core";
import type { Command } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import type { Check } from "../doctor/check.js";
import { diskChecks } from "../doctor/disk-checks.js";
import { kernelChecks } from "../doctor/kernel-checks.js";
import { machineChecks } from "../doctor/machine-checks.js";
import type { Invocation } from "../invocation.js";
import type { CommonFlags, Report } from "../report.js";
import { table } from "../table.js";

interface DoctorFlags extends CommonFlags {
  readonly all?: boolean;
}

export function doctorCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "doctor",
    summary: "Say what this machine can do, and test each kernel; exits with 1 if one computes something wrong.",
    example: "flashwick doctor /models",
  })
    .argument("[folder]", "where models will lie: a file of 64 MiB is made there and removed", ".")
    .option("--all", "every case of the kernels' table (default: one of each op, type and kind)")
    .action(async (folder: string, flags: DoctorFlags) => {
      invocation.exitStatus = await withReport(invocation.terminal, flags, (report) => doctor(folder, flags, report));
    });
}

async function doctor(folder: string, { all = false }: DoctorFlags, report: Report): Promise<number> {
  await checkFolder(folder);
  const { signal } = report.terminal;
  const machine = [...(await machineChecks()), ...(await diskChecks(folder, signal))];
  const kernels = await kernelChecks(all, signal);
  const checks = [...machine, ...kernels];
  report.result({ checks }, () => doctorText(machine, kernels, all));
  return kernels.every(({ ok }) => ok) ? 0 : 1;
}

/** @throws {InputError} */
async function checkFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch(() => null);
  if (found?.isDirectory()) return;
  const what = found ? "a file" : "nothing";
  throw new InputError("INPUT_INVALID", `${folder}: expected a folder, where models will lie; found ${what}`);
}

function doctorText(machine: readonly Check[], kernels: readonly Check[], all: boolean): string {
  const missing = machine.filter(({ ok }) => !ok);
  const wrong = kernels.filter(({ ok }) => !ok);
  const rows = [...machine, ...wrong].map(({ name, ok, found }) => [ok ? "yes" : "no", name, found]);
  const right = `${kernels.length - wrong.length} of ${kernels.length} kernels compute what they must${all ? "" : " (--all tests every case)"}`;
  const brings = missing.map(({ name, brings }) => `${name} would bring ${brings}.`);
  return [table(rows), "", right, ...(brings.length > 0 ? ["", ...brings] : [])].join("\n");
}
