/**
 * Damage to a file, one place at a time, and who finds out: the code that opens the file, the one that would read those bytes, or `verify`, in this order.
 *
 * Invariant: the file is what it was after each piece of damage.
 */
import { isFlashwickError, type Random } from "@flashwick/core";

/** Who finds damage. */
export type Finder = "open" | "read" | "verify";
export const FINDERS: readonly Finder[] = ["open", "read", "verify"];

/** Product code that would use the bytes at `at`. Finds damage by throwing a typed error; any other error is a fault. */
export interface Judge {
  readonly finder: Finder;
  judge(at: number): Promise<unknown> | unknown;
}

/** Bytes of one kind. */
export interface Region {
  readonly name: string;
  readonly begin: number;
  readonly end: number;
  /** In the order in which a program comes to them. */
  readonly judges: readonly Judge[];
  /** Whether each byte is damaged, and not some at random. */
  readonly isWhole: boolean;
  /** Why nobody need find damage here: whatever uses the file must then give what it gave before. Null: somebody must. */
  readonly ignored: string | null;
}

/** Two stretches of the same length that change places, or one that is copied over another. */
export interface Exchange {
  readonly what: string;
  readonly from: number;
  readonly to: number;
  readonly sizeBytes: number;
  readonly isCopy: boolean;
}

/** Something whole that belongs elsewhere. */
export interface Foreign {
  readonly what: string;
  readonly finder: Finder;
  /** Throws a typed error, if the product finds out. */
  use(): Promise<unknown> | unknown;
}

/** A file, and everything that is done to it. */
export interface Subject {
  readonly name: string;
  readonly kind: string;
  /** Damaged in place: judges read these very bytes. */
  readonly bytes: Uint8Array;
  /** Ascending, without gaps, over the whole file. */
  readonly regions: readonly Region[];
  /** Ends of sections and records, at which the file is cut. */
  readonly boundaries: readonly number[];
  readonly exchanges: readonly Exchange[];
  readonly foreign: readonly Foreign[];
  /** Opens, reads and verifies a file of another length; its finders as of a judge. */
  readonly whole: (bytes: Uint8Array) => readonly { readonly finder: Finder; use(): Promise<unknown> | unknown }[];
  /** What comes of the file as it is now: for what is ignored. Typed errors are thrown. */
  output(bytes: Uint8Array): Promise<unknown>;
}

/** How often each came about. */
export interface Tally {
  readonly subject: string;
  readonly kind: string;
  readonly region: string;
  readonly damage: string;
  count: number;
  readonly found: Record<Finder, number>;
  /** Nobody need find it, and nothing came of it. */
  ignored: number;
  /** Nobody found it. */
  undetected: number;
  readonly faults: string[];
}

/** The tallies of one file, by region and damage. */
export class Tallies {
  readonly all = new Map<string, Tally>();

  constructor(private readonly subject: Pick<Subject, "name" | "kind">) {}

  of(region: string, damage: string): Tally {
    const key = `${region}/${damage}`;
    const { name: subject, kind } = this.subject;
    const none = { open: 0, read: 0, verify: 0 };
    const tally = this.all.get(key) ?? {
      subject,
      kind,
      region,
      damage,
      count: 0,
      found: none,
      ignored: 0,
      undetected: 0,
      faults: [],
    };
    this.all.set(key, tally);
    return tally;
  }

  /** Counts a piece of damage. @param finder Null: nobody found it. */
  count(region: string, damage: string, finder: Finder | null, where: string): void {
    const tally = this.of(region, damage);
    tally.count++;
    if (finder !== null) tally.found[finder]++;
    else {
      tally.undetected++;
      tally.faults.push(`${this.subject.name}, ${region}: ${where}: nobody finds it`);
    }
  }
}

/** Whether `use` finds damage. @throws What is no typed error: a fault of its own. */
export async function finds(use: () => Promise<unknown> | unknown): Promise<boolean> {
  try {
    await use();
    return false;
  } catch (error) {
    if (isFlashwickError(error)) return true;
    throw error;
  }
}

/** The first of the region's judges that finds out; null if none does. */
export async function finderAt({ judges }: Pick<Region, "judges">, at: number): Promise<Finder | null> {
  for (const { finder, judge } of judges) if (await finds(() => judge(at))) return finder;
  return null;
}

/** Flips one bit at `at`, does `work`, and flips it back. */
export async function whileFlipped<T>(bytes: Uint8Array, at: number, bit: number, work: () => Promise<T>): Promise<T> {
  bytes[at]! ^= 1 << bit;
  try {
    return await work();
  } finally {
    bytes[at]! ^= 1 << bit;
  }
}

/** Distinct places of a region: all of them, or `most` at random, ascending. */
export function placesOf({ begin, end, isWhole }: Region, most: number, random: Random): number[] {
  const sizeBytes = end - begin;
  if (isWhole || sizeBytes <= most) return Array.from({ length: sizeBytes }, (_, i) => begin + i);
  const places = new Set<number>();
  while (places.size < most) places.add(begin + random.below(sizeBytes));
  return [...places].toSorted((a, b) => a - b);
}
