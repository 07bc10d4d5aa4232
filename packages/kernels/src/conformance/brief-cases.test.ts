/** A self-test that is short must still tell a kernel that does nothing from one that works. */
import { expect, it } from "vitest";
import { briefCases } from "./brief-cases.js";
import { conformanceCases, titleOf } from "./case-table.js";

const brief = briefCases(conformanceCases);

it("has every op and every type of the table, in its order", () => {
  const kindsOf = (cases: typeof conformanceCases) =>
    [...new Set(cases.map((c) => `${c.op} ${"dtype" in c ? c.dtype : ""}`))].sort();
  expect(kindsOf(brief)).toEqual(kindsOf(conformanceCases));
  expect(brief).toEqual(conformanceCases.filter((c) => brief.includes(c)));
});

it("has no case over nothing", () => {
  const isEmpty = (c: object) =>
    Object.entries(c).some(([name, value]) => ["n", "count", "text"].includes(name) && !value);
  expect(brief.filter(isEmpty).map(titleOf)).toEqual([]);
});
