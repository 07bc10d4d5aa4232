/** All damage of one file: flips, cuts, exchanges, files of others. */
import { isDeepStrictEqual } from "node:util";
import { Random } from "@flashwick/core";
import {
  type Exchange,
  finderAt,
  finds,
  placesOf,
  type Region,
  type Subject,
  Tallies,
  type Tally,
  whileFlipped,
} from "./damage.js";

/** How much is done. */
export interface CampaignSize {
  readonly seed: number;
  /** Random places of each file, over its regions by their sizes; regions that are damaged byte by byte come on top. */
  readonly flips: number;
  /** At most so many bytes of a region that is otherwise damaged byte by byte. */
  readonly wholeBytes: number;
  /** Most cuts and most exchanges; more are chosen from at random. */
  readonly cuts: number;
  readonly exchanges: number;
  /** Flips of what is ignored after each of which the output is compared alone; all of them at once are compared as well. */
  readonly outputs: number;
  /** Flips at random places of the file after each of which everything that uses it is run: a typed error, or the same output. */
  readonly uses: number;
}

/** Damages a file in every way. @returns Tallies by region and damage. */
export async function damageSubject(subject: Subject, size: CampaignSize): Promise<readonly Tally[]> {
  const tallies = new Tallies(subject);
  const before = subject.bytes.slice();
  await flipBits(subject, size, tallies);
  await flipAndUse(subject, size, tallies);
  await cut(subject, size, tallies);
  await exchange(subject, size, tallies);
  for (const { what, finder, use } of subject.foreign) {
    tallies.count("-", "of another", (await finds(use)) ? finder : null, what);
  }
  if (!isDeepStrictEqual(subject.bytes, before)) throw new Error(`${subject.name}: the file is not what it was`);
  return [...tallies.all.values()];
}

async function flipBits(subject: Subject, size: CampaignSize, tallies: Tallies): Promise<void> {
  const { bytes, regions } = subject;
  const random = new Random(size.seed, bytes.length);
  const sampled = regions.filter(({ isWhole }) => !isWhole).reduce((sum, { begin, end }) => sum + end - begin, 0);
  for (const region of regions) {
    const share = Math.ceil((size.flips * (region.end - region.begin)) / Math.max(1, sampled));
    const limited = { ...region, isWhole: region.isWhole && region.end - region.begin <= size.wholeBytes };
    const unnoticed: (readonly [number, number])[] = [];
    for (const at of placesOf(limited, region.isWhole ? size.wholeBytes : share, random)) {
      const bit = random.below(8);
      const finder = await whileFlipped(bytes, at, bit, () => finderAt(region, at));
      if (finder === null && region.ignored !== null) unnoticed.push([at, bit]);
      else tallies.count(region.name, "flip", finder, `bit ${bit} of byte ${at}`);
    }
    await expectIgnored(subject, region, unnoticed, size, tallies);
  }
}

/** Damage that nobody need find changes no output: a part of it alone, and all of it at once. */
async function expectIgnored(
  subject: Subject,
  region: Region,
  flips: readonly (readonly [number, number])[],
  { seed, outputs }: CampaignSize,
  tallies: Tallies,
): Promise<void> {
  if (flips.length === 0) return;
  const expected = await subject.output(subject.bytes);
  const random = new Random(seed, flips.length);
  const alone =
    flips.length <= outputs ? flips : Array.from({ length: outputs }, () => flips[random.below(flips.length)]!);
  // Of a text, many changes at once make another text: there each is looked at alone.
  for (const some of [...alone.map((flip) => [flip]), ...(alone === flips ? [] : [flips])]) {
    const bytes = subject.bytes.slice();
    for (const [at, bit] of some) bytes[at]! ^= 1 << bit;
    const same = isDeepStrictEqual(await subject.output(bytes), expected);
    if (!same)
      tallies.count(
        region.name,
        "flip",
        null,
        `${some.length} bits from byte ${some[0]![0]} on, which change the output`,
      );
  }
  const tally = tallies.of(region.name, "flip");
  tally.count += flips.length;
  tally.ignored += flips.length;
}

/** What the judges stand for, as a program has it: whether or not the bytes are used, no output is another one. */
async function flipAndUse(subject: Subject, { seed, uses }: CampaignSize, tallies: Tallies): Promise<void> {
  const random = new Random(seed, uses);
  const expected = await subject.output(subject.bytes);
  for (let i = 0; i < uses; i++) {
    const [at, bit] = [random.below(subject.bytes.length), random.below(8)];
    const bytes = subject.bytes.slice();
    bytes[at]! ^= 1 << bit;
    let found: unknown;
    const isRefused = await finds(async () => {
      found = await subject.output(bytes);
    });
    const tally = tallies.of("-", "flip and use");
    if (!isRefused && isDeepStrictEqual(found, expected)) {
      tally.count++;
      tally.ignored++;
    } else tallies.count("-", "flip and use", isRefused ? "read" : null, `bit ${bit} of byte ${at}`);
  }
}

async function cut(subject: Subject, { seed, cuts }: CampaignSize, tallies: Tallies): Promise<void> {
  const { bytes, boundaries } = subject;
  const random = new Random(seed, cuts);
  const lengths = [...new Set(boundaries.flatMap((at) => [at - 1, at, at + 1]))].filter(
    (length) => length >= 0 && length !== bytes.length,
  );
  const chosen = lengths.length <= cuts ? lengths : lengths.filter(() => random.below(lengths.length) < cuts);
  for (const length of [...chosen, bytes.length + 1, bytes.length + 4096]) {
    const other = new Uint8Array(length);
    other.set(bytes.subarray(0, length));
    const damage = length < bytes.length ? "cut" : "longer";
    tallies.count("-", damage, await finderOfWhole(subject, other), `${length} of ${bytes.length} bytes`);
  }
}

async function finderOfWhole(subject: Subject, bytes: Uint8Array) {
  for (const { finder, use } of subject.whole(bytes)) if (await finds(use)) return finder;
  return null;
}

async function exchange(subject: Subject, { seed, exchanges }: CampaignSize, tallies: Tallies): Promise<void> {
  const { bytes } = subject;
  const random = new Random(seed, exchanges);
  const all = subject.exchanges;
  const chosen = all.length <= exchanges ? all : all.filter(() => random.below(all.length) < exchanges);
  for (const one of chosen) {
    const { from, to, sizeBytes, isCopy, what } = one;
    const [a, b] = [bytes.slice(from, from + sizeBytes), bytes.slice(to, to + sizeBytes)];
    // Nothing has changed where both are the same.
    if (Buffer.compare(a, b) === 0) continue;
    bytes.set(a, to);
    if (!isCopy) bytes.set(b, from);
    try {
      for (const [at, region] of placesThatDiffer(subject, one, a, b)) {
        const finder = await finderAt(region, at);
        tallies.count(region.name, isCopy ? "copied over" : "exchanged", finder, `${what}, at ${at}`);
      }
    } finally {
      bytes.set(a, from);
      bytes.set(b, to);
    }
  }
}

/** The first byte that is another one, in each place that was written to. */
function* placesThatDiffer({ regions }: Subject, { from, to, isCopy }: Exchange, a: Uint8Array, b: Uint8Array) {
  const first = a.findIndex((byte, i) => byte !== b[i]);
  for (const at of isCopy ? [to + first] : [from + first, to + first]) {
    const region = regions.find(({ begin, end }) => at >= begin && at < end)!;
    // What nobody need find is not found here either.
    if (region.ignored === null) yield [at, region] as const;
  }
}
