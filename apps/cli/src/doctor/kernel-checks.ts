/** The self-test of each kernel: cases of the conformance table, on the kernels that models are computed by. */
import { eventLoopTurn } from "@flashwick/core";
import { Arena, type TrainingKernels } from "@flashwick/kernels";
import {
  briefCases,
  byteVectorCases,
  CONFORMANCE_ARENA_BYTES,
  type ConformanceCase,
  conformanceCases,
  runConformanceCase,
  titleOf,
} from "@flashwick/kernels/conformance";
import { compileByteVectorKernels, createByteVectorKernels, createWasmKernels } from "@flashwick/kernels-wasm";
import type { Check } from "./check.js";

/**
 * A check for each op, on one thread; those of relaxed SIMD where that is there.
 *
 * @param all Every case; otherwise the first of each op, type and kind of check.
 * @throws The signal's own reason.
 */
export async function kernelChecks(all: boolean, signal: AbortSignal): Promise<Check[]> {
  const arena = () => new Arena(2 * CONFORMANCE_ARENA_BYTES);
  const plain = await selfTests(createWasmKernels(arena()), casesOf(conformanceCases, all), signal);
  if (!(await hasByteVectors())) return plain;
  const ofBytes = byteVectorCases.filter((c) => "vectorBits" in c && c.vectorBits === 8);
  const relaxed = await selfTests(createByteVectorKernels(arena()), casesOf(ofBytes, all), signal);
  return [...plain, ...relaxed.map((check) => ({ ...check, name: `${check.name}, relaxed` }))];
}

/** A check for each op that the cases name, in their order. @throws The signal's own reason. */
export async function selfTests(
  kernels: TrainingKernels,
  cases: readonly ConformanceCase[],
  signal: AbortSignal,
): Promise<Check[]> {
  const failures = new Map<string, string[]>();
  for (const c of cases) {
    signal.throwIfAborted();
    const ofOp = failures.get(c.op) ?? [];
    failures.set(c.op, ofOp);
    const failure = failureOf(kernels, c);
    if (failure !== null) ofOp.push(failure);
    await eventLoopTurn();
  }
  return [...failures].map(([op, found]) => kernelCheck(op, cases.filter((c) => c.op === op).length, found));
}

function kernelCheck(op: string, cases: number, failures: readonly string[]): Check {
  const [first] = failures;
  return {
    name: `kernel ${op}`,
    ok: first === undefined,
    found:
      first === undefined
        ? `${cases} cases as they must be`
        : `${failures.length} of ${cases} cases are wrong: ${first}`,
    brings: "right results: with a kernel that fails, believe nothing, and report it with this output",
  };
}

/** In words, with the case's title; null if it is as it must be. A trap is a failure like a wrong element. */
function failureOf(kernels: TrainingKernels, c: ConformanceCase): string | null {
  try {
    runConformanceCase(kernels, c);
    return null;
  } catch (error) {
    return `${titleOf(c)}: ${(error as Error).message}`;
  }
}

function casesOf(cases: readonly ConformanceCase[], all: boolean): readonly ConformanceCase[] {
  return all ? cases : briefCases(cases);
}

async function hasByteVectors(): Promise<boolean> {
  return await compileByteVectorKernels().then(
    () => true,
    () => false,
  );
}
