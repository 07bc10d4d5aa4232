import { expect, it } from "vitest";
import { OPERANDS, operandWords, type ShaderName } from "./operands.js";
import { PARAMETERS } from "./prelude.js";
import { shaders } from "./shaders.js";

const names = Object.keys(OPERANDS) as ShaderName[];

it.each(names)("%s: WGSL reads operands of the table alone, each has one place, and all fit a dispatch", (name) => {
  const operands: readonly string[] = OPERANDS[name];
  const constants = operands.map((operand) => `op${operand[0]!.toUpperCase()}${operand.slice(1)}`);
  for (const subgroups of [false, true]) {
    const wgsl = shaders(4, subgroups)[name];
    expect(constants).toEqual(expect.arrayContaining([...new Set(wgsl.match(/\bop[A-Z]\w*/g))]));
    // Not by number.
    expect(wgsl.match(/\bf?u\(\d+u?\)/g)).toBeNull();
  }
  expect([new Set(operands).size, operands.length <= PARAMETERS]).toEqual([operands.length, true]);
});

it("operands become words in the order of the table, however they are named", () => {
  expect(operandWords("copyRows", { cols: 4, rows: 3, x: 2, out: 1 })).toEqual([1, 2, 3, 4]);
});
