/** Ops of elements and of rows of a batch, with their arguments checked. */
import { paddedLength } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { Kernels } from "../contract.js";
import { type Extent, OperandChecks } from "./operand-checks.js";
import { checkActivation } from "./weight-checks.js";

type Elementwise = Pick<Kernels, "gate" | "scale" | "add" | "addScaled" | "relu" | "zero" | "selectAbove"> &
  Pick<Kernels, "copyRows" | "addRowsScaled">;

/** The ops that see elements alone, and no weights. */
export function checkedElementwise(kernels: Kernels): Elementwise {
  const checks = new Map<string, OperandChecks>();
  /** Of one op: `count` elements, a multiple of 4, of each operand. */
  const elements = (op: string, count: number, operands: Readonly<Record<string, Ptr>>): OperandChecks => {
    const check = checks.get(op) ?? new OperandChecks(kernels.arena, op);
    checks.set(op, check);
    check.count("count", count, { unit: 4 });
    for (const name in operands) check.f32(name, operands[name]!, count);
    return check;
  };
  return {
    gate(act, gate, up, count, activation) {
      checkActivation(elements("gate", count, { act, gate, up }), activation, true);
      kernels.gate(act, gate, up, count, activation);
    },
    scale(x, count, factor) {
      elements("scale", count, { x });
      kernels.scale(x, count, factor);
    },
    add(out, x, count) {
      elements("add", count, { out, x });
      kernels.add(out, x, count);
    },
    addScaled(out, x, count, factor) {
      elements("addScaled", count, { out, x });
      kernels.addScaled(out, x, count, factor);
    },
    relu(x, count) {
      elements("relu", count, { x });
      kernels.relu(x, count);
    },
    ...checkedScores(kernels),
    ...checkedRows(kernels),
  };
}

function checkedScores(kernels: Kernels): Pick<Kernels, "zero" | "selectAbove"> {
  const zero = new OperandChecks(kernels.arena, "zero");
  const selectAbove = new OperandChecks(kernels.arena, "selectAbove");
  return {
    zero(out, count) {
      zero.count("count", count);
      zero.f32("out", out, count);
      kernels.zero(out, count);
    },
    selectAbove(out, scores, n, threshold) {
      selectAbove.count("n", n);
      selectAbove.f32("out", out, n);
      selectAbove.f32("scores", scores, n);
      return kernels.selectAbove(out, scores, n, threshold);
    },
  };
}

function checkedRows(kernels: Kernels): Pick<Kernels, "copyRows" | "addRowsScaled"> {
  const copyRows = new OperandChecks(kernels.arena, "copyRows");
  const addRowsScaled = new OperandChecks(kernels.arena, "addRowsScaled");
  return {
    copyRows(out, x, rows, n, cols) {
      const named = checkRows(copyRows, rows, n, cols);
      copyRows.f32("out", out, n * paddedLength(cols));
      checkReach(copyRows, { name: "out", ptr: out, sizeBytes: 4 * n * paddedLength(cols) }, "x", x, named, cols);
      kernels.copyRows(out, x, rows, n, cols);
    },
    addRowsScaled(out, x, rows, factors, n, cols) {
      const named = checkRows(addRowsScaled, rows, n, cols);
      if (new Set(named).size < n) addRowsScaled.fail("rows", "each row once", [...named].join(", "));
      addRowsScaled.f32("x", x, n * paddedLength(cols));
      addRowsScaled.f32("factors", factors, n);
      checkReach(addRowsScaled, { name: "x", ptr: x, sizeBytes: 4 * n * paddedLength(cols) }, "out", out, named, cols);
      kernels.addRowsScaled(out, x, rows, factors, n, cols);
    },
  };
}

function checkRows(check: OperandChecks, rows: Ptr, n: number, cols: number): Uint32Array {
  check.count("n", n);
  check.count("cols", cols, { least: 1 });
  return check.u32("rows", rows, n);
}

/** The vectors at `ptr` as far as the rows go, apart from `other`. */
function checkReach(
  check: OperandChecks,
  other: Extent,
  name: string,
  ptr: Ptr,
  rows: Uint32Array,
  cols: number,
): void {
  const last = rows.reduce((most, row) => Math.max(most, row), -1);
  const count = (last + 1) * paddedLength(cols);
  check.f32(name, ptr, count);
  check.apart(other, { name, ptr, sizeBytes: 4 * count });
}
