/** `gate`: products of activations that are there already. */
import type { Activation, ActivationFunction } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import {
  activationBound,
  activationError,
  exactActivation,
  exactFactor,
  functionOf,
  gateRoundings,
} from "./exact-activation.js";
import { UNIT_ROUNDOFF } from "./tolerance.js";
import { expectClose, expectEqual, expectSameBits } from "./verdict.js";
import { SENTINEL, type Workbench } from "./workbench.js";

export interface GateCase {
  readonly op: "gate";
  readonly activation: Activation;
  readonly up: ActivationFunction["up"];
  readonly count: number;
}

export function gateTitle(c: GateCase): string {
  const g = c.activation === "swiglu-clamped" ? "g(up)" : c.up === "none" ? "up" : `${c.up}(up)`;
  const error = activationError(c.activation);
  const rounding = `|act|·${1 + gateRoundings(c.activation)}·2^-24`;
  const bound = error ? `(${error})·|g| + ${rounding}` : rounding;
  return `gate ${c.activation}(gate) · ${g} over ${c.count}: within ${bound}, NaN kept, in place the same bits`;
}

/** Gates that are met seldom: zeros, ties with the threshold and the limit, far ends. */
const EXTREMES = [0, -0, 0.5, 0.5000001, -0.5, 100, -100, 3e4, -3e4, 7, 7.0000005, -7.5, Number.NaN];
/** Factors that are met seldom, from the last: beside ordinary gates. */
const LAST_FACTORS = [0, -0, -1, 7, -7, 7.0000005, -7.0000005, 100, -3e4, Number.NaN];

export function runGate(bench: Workbench, c: GateCase): void {
  const { kernels, arena, random } = bench;
  const f = functionOf(c.activation, c.up);
  const gates = Float32Array.from({ length: c.count }, (_, i) => EXTREMES[i] ?? 8 * random.signed());
  const ups = Float32Array.from({ length: c.count }, (_, i) => LAST_FACTORS[c.count - 1 - i] ?? 8 * random.signed());
  const place = (values: Float32Array): Ptr => {
    const ptr = bench.output(c.count + 4);
    arena.f32(ptr, c.count).set(values);
    return ptr;
  };
  const [act, gate, up] = [bench.output(c.count + 4), place(gates), place(ups)];
  kernels.gate(act, gate, up, c.count, f);
  const found = bench.snapshot(act, c.count);
  for (let i = 0; i < c.count; i++) compareElement(i, gates[i]!, ups[i]!, found[i]!, f);
  for (const beyond of arena.f32(act + 4 * c.count, 4)) expectEqual("beyond", beyond, SENTINEL);
  const [first, second] = [place(gates), place(ups)];
  kernels.gate(first, first, up, c.count, f);
  kernels.gate(second, gate, second, c.count, f);
  expectSameBits("in place of the gate", oneNaN(bench.snapshot(first, c.count)), oneNaN(found));
  expectSameBits("in place of up", oneNaN(bench.snapshot(second, c.count)), oneNaN(found));
}

/** Sign and payload of a NaN are nobody's to promise: V8 chooses others once it has compiled a function anew. */
function oneNaN(values: Float32Array): Float32Array {
  return values.map((value) => (Number.isNaN(value) ? Number.NaN : value));
}

function compareElement(i: number, gate: number, up: number, found: number, f: ActivationFunction): void {
  if (Number.isNaN(gate) || Number.isNaN(up)) {
    expectEqual(`act[${i}]`, found, Number.NaN);
    return;
  }
  const g = exactFactor(up, f);
  const expected = exactActivation(gate, f) * g;
  const roundings = 1 + gateRoundings(f.kind);
  const bound = Math.abs(activationBound(gate, 0, f) * g) + roundings * UNIT_ROUNDOFF * Math.abs(expected);
  expectClose(`act[${i}] of ${gate} and ${up}`, found, expected, bound);
}
