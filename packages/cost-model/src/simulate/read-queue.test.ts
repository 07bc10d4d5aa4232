import { Random } from "@flashwick/core";
import { expect, it } from "vitest";
import { deviceProfile } from "../cost.fixture.js";
import { readBytesPerSec } from "../read-time.js";
import { ReadQueue } from "./read-queue.js";
import { ReadServices } from "./read-service.js";

const { flash } = deviceProfile({});

/** Milliseconds of so many reads at once, alone on the device. */
function elapsedMs(count: number, sizeBytes: number, depth: number): number {
  const queue = new ReadQueue(depth, 0, new Random(0));
  const { fullMs, speedup } = new ReadServices(flash, depth).random(sizeBytes);
  const batch = queue.issue({ groups: [{ count, sizeBytes, fullMs }], speedup, lateMs: 0 });
  let nowMs = 0;
  while (batch.remaining > 0) {
    nowMs += queue.untilNextMs(1);
    queue.endNext(nowMs);
  }
  expect(queue.tally).toEqual({
    issuedReads: count,
    endedReads: count,
    droppedReads: 0,
    endedBytes: count * sizeBytes,
  });
  return nowMs;
}

it("has the table's throughput at full depth, and a read alone takes the table's time", () => {
  for (const sizeBytes of [2048, 4096, 9000, 65536]) {
    const full = (1600 * 1000 * sizeBytes) / readBytesPerSec(flash, sizeBytes, 16);
    expect(elapsedMs(1600, sizeBytes, 16)).toBeCloseTo(full, 6);
    const alone = (1000 * sizeBytes) / readBytesPerSec(flash, sizeBytes, 1);
    expect(Math.abs(elapsedMs(1, sizeBytes, 16) / alone - 1)).toBeLessThan(0.01);
  }
});

it("has the table's throughput for fewer reads than readers, within 1 %", () => {
  for (const count of [2, 3, 7, 12]) {
    const expected = (1000 * count * 8192) / readBytesPerSec(flash, 8192, count);
    expect(Math.abs(elapsedMs(count, 8192, 16) / expected - 1)).toBeLessThan(0.01);
  }
});

it("serves reads of two sizes side by side, the short one out first, and drops only what has not begun", () => {
  const queue = new ReadQueue(2, 0, new Random(0));
  const services = new ReadServices(flash, 2);
  const group = (count: number, sizeBytes: number) => ({ count, sizeBytes, fullMs: services.random(sizeBytes).fullMs });
  const { speedup } = services.random(8192);
  const long = queue.issue({ groups: [group(1, 65536)], speedup, lateMs: 0 });
  const short = queue.issue({ groups: [group(3, 4096)], speedup, lateMs: 0 });
  expect([queue.inFlight, queue.waiting]).toEqual([2, 2]);
  queue.endNext(queue.untilNextMs(1));
  expect([long.remaining, short.remaining]).toEqual([1, 2]);
  queue.drop(short);
  expect([queue.inFlight, queue.waiting, short.remaining]).toEqual([2, 0, 1]);
  expect(queue.tally.droppedReads).toBe(1);
});
