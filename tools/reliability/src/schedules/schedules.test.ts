/** A short turn of schedules. The long one is `node tools/reliability/schedules.mjs`. */
import { expect, it } from "vitest";
import { runSchedule } from "./run-schedule.js";
import { planSchedule } from "./schedule-plan.js";

const COUNT = 40;

it(`the first ${COUNT} schedules give the reference's logits and texts, bit for bit, and leave nothing behind`, async () => {
  const works = new Set<string>();
  let compared = 0;
  for (let seed = 0; seed < COUNT; seed++) {
    const { faults, logits, tokens, plan } = await runSchedule(seed);
    expect({ seed, faults }).toEqual({ seed, faults: [] });
    works.add(`${plan.work} ${plan.reader}`);
    compared += logits + tokens;
  }
  expect(works.size).toBe(9);
  expect(compared).toBeGreaterThan(500);
});

it("a seed gives the same schedule again, to the last bit and step", async () => {
  const seeds = [1, 7, 12];
  const first = [];
  for (const seed of seeds) first.push(await runSchedule(seed));
  const again = [];
  for (const seed of seeds) again.push(await runSchedule(seed));
  expect(again).toEqual(first);
  expect(new Set(first.map(({ digest }) => digest)).size).toBe(3);
});

it("a reader that says too early that a read has landed is found out", async () => {
  const seeds = Array.from({ length: 200 }, (_, seed) => seed).filter((seed) => {
    const { reader, budgetShare, readers } = planSchedule(seed);
    return reader === "hopping" && budgetShare === 0 && readers > 1;
  });
  const found: number[] = [];
  for (const seed of seeds.slice(0, 6)) {
    const { faults } = await runSchedule(seed, (parts) => ({
      ...parts,
      reader: {
        ...parts.reader,
        waitFor: () => {},
        wait: (runs) => (runs === undefined ? parts.reader.wait() : undefined),
      },
    }));
    if (faults.length > 0) found.push(seed);
  }
  expect(found.length).toBeGreaterThan(0);
});
