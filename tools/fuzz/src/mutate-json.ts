/** Inputs as JSON: values become others, keys are renamed, dropped and doubled, what lies deep is laid deeper. */
import type { Random } from "@flashwick/core";
import { bytesOf, textOf } from "./harness.js";

/** Values that are looked at of one document. */
const MOST_PLACES = 4000;
const MOST_CHANGES = 4;
/** What nests deeper is changed as bytes: it can be read, but neither copied nor written. */
const MOST_DEPTH = 200;

const DEPTHS = [100, 3000, 20_000];
/**
 * What no value can be written out as: stands in the document as a text, and is put in its place at the end. Deep nesting, numbers that are none, keys
 * that mean something to the language.
 */
const RAW: readonly string[] = [
  ...DEPTHS.map((depth) => "[".repeat(depth) + "]".repeat(depth)),
  ...DEPTHS.map((depth) => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`),
  ...[
    "1e999",
    "-1e999",
    "-0",
    "9007199254740993",
    "1e-320",
    '"\\ud800"',
    `"${"x".repeat(5000)}"`,
    `[${"0,".repeat(3000)}0]`,
  ],
];
const MARK = "\ue000";
/** Longer documents are left alone: a list of marks becomes gigabytes. */
const MOST_CHARACTERS = 2 ** 20;
const RAW_MARKS = /"\ue000(\d+)\ue000"/g;
const VALUES: readonly unknown[] = [
  ...[
    null,
    true,
    false,
    0,
    1,
    -1,
    2,
    3,
    0.5,
    1e-9,
    255,
    4096,
    65536,
    2 ** 31 - 1,
    2 ** 31,
    2 ** 32,
    2 ** 53 - 1,
    2 ** 53,
    1e15,
  ],
  ...[
    1e30,
    1e308,
    -1e308,
    "",
    " ",
    "0",
    "a",
    "\0",
    "\u{1f600}",
    "__proto__",
    "constructor",
    "toString",
    "../../x",
    "C:\\x",
  ],
  ...[[], {}, [[]], [null], { a: 1 }, { length: 1e9 }, { toString: 1 }, { constructor: { prototype: {} } }],
];
/** Renamed at the end: an object literal would take the first for its prototype. */
const KEYS = [
  `${MARK}__proto__`,
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "length",
  "",
  "0",
  "valueOf",
];

interface Place {
  readonly holder: Record<string, unknown> | unknown[];
  readonly key: string | number;
}

/** Changes documents. */
export class JsonMutator {
  readonly #random: Random;
  readonly #words: readonly string[];
  /** Documents, parsed once; changed copies are made of them. */
  readonly #parsed = new WeakMap<Uint8Array, { readonly value: unknown } | null>();

  /** @param words Keys and values that mean something to the reader. */
  constructor(random: Random, words: readonly string[]) {
    this.#random = random;
    this.#words = words;
  }

  /** @returns Null where the parent is no JSON, and where a document of too many characters came of it. */
  mutate(parent: Uint8Array, other: Uint8Array): Uint8Array | null {
    const known = this.#parse(parent);
    if (known === null) return null;
    const root = [structuredClone(known.value)];
    for (let left = 1 + this.#random.below(MOST_CHANGES); left > 0; left--) this.#change(root, other);
    const text = written(root[0]);
    return text === null ? null : bytesOf(text);
  }

  #parse(input: Uint8Array) {
    const known = this.#parsed.get(input);
    if (known !== undefined) return known;
    const parsed = parse(input);
    this.#parsed.set(input, parsed);
    return parsed;
  }

  #change(root: unknown[], other: Uint8Array): void {
    const places = placesIn(root);
    const place = places[this.#random.below(places.length)]!;
    const { holder, key } = place;
    switch (this.#random.below(10)) {
      case 0:
      case 1:
        put(place, this.#value());
        return;
      case 2:
        put(place, numberNear(valueAt(place), this.#random));
        return;
      case 3:
        put(place, this.#text(valueAt(place)));
        return;
      case 4:
        if (Array.isArray(holder)) holder.splice(Number(key), 1);
        else delete holder[key];
        return;
      case 5:
        this.#rename(place);
        return;
      case 6:
        put(place, structuredClone(valueAt(places[this.#random.below(places.length)]!)));
        return;
      case 7:
        put(place, this.#random.below(2) === 0 ? [valueAt(place)] : { [this.#word()]: valueAt(place) });
        return;
      case 8:
        this.#add(valueAt(place));
        return;
      default:
        this.#graft(place, other);
        return;
    }
  }

  #value(): unknown {
    if (this.#random.below(60) === 0) return `${MARK}${this.#random.below(RAW.length)}${MARK}`;
    return structuredClone(VALUES[this.#random.below(VALUES.length)]);
  }

  #word(): string {
    if (this.#words.length === 0 || this.#random.below(8) === 0) return KEYS[this.#random.below(KEYS.length)]!;
    return this.#words[this.#random.below(this.#words.length)]!;
  }

  /** A word, several of them in a row, or a text that was there with a word in it. */
  #text(before: unknown): string {
    const words = Array.from({ length: 1 + this.#random.below(5) }, () => this.#word());
    if (typeof before !== "string" || this.#random.below(2) === 0) return words.join("").slice(0, 2000);
    const at = this.#random.below(before.length + 1);
    return before.slice(0, at) + words[0] + before.slice(at + this.#random.below(3));
  }

  #rename({ holder, key }: Place): void {
    if (Array.isArray(holder)) return;
    const value = holder[key];
    if (this.#random.below(2) === 0) delete holder[key];
    holder[this.#word()] = value;
  }

  #add(value: unknown): void {
    if (Array.isArray(value)) {
      const times = this.#random.below(20) === 0 ? 500 : 1;
      const item = value.length > 0 ? value[this.#random.below(value.length)] : this.#value();
      for (let i = 0; i < times; i++) value.push(structuredClone(item));
    } else if (typeof value === "object" && value !== null) {
      (value as Record<string, unknown>)[this.#word()] = this.#value();
    }
  }

  /** A value of another document. */
  #graft(place: Place, other: Uint8Array): void {
    const known = this.#parse(other);
    if (known === null) return;
    const places = placesIn([known.value]);
    put(place, structuredClone(valueAt(places[this.#random.below(places.length)]!)));
  }
}

/** Of brackets, those in texts included: an upper bound. */
function depthOf(text: string): number {
  let [depth, deepest] = [0, 0];
  for (const bracket of text.matchAll(/[[\]{}]/g)) {
    depth += bracket[0] === "[" || bracket[0] === "{" ? 1 : -1;
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}

function parse(input: Uint8Array): { readonly value: unknown } | null {
  try {
    const text = textOf(input);
    return depthOf(text) > MOST_DEPTH ? null : { value: JSON.parse(text) };
  } catch {
    return null;
  }
}

function placesIn(root: unknown[]): Place[] {
  const places: Place[] = [{ holder: root, key: 0 }];
  for (const place of places) {
    const value = valueAt(place);
    if (typeof value !== "object" || value === null) continue;
    for (const key of Object.keys(value)) {
      if (places.length >= MOST_PLACES) return places;
      places.push({ holder: value as Record<string, unknown>, key: Array.isArray(value) ? Number(key) : key });
    }
  }
  return places;
}

function valueAt({ holder, key }: Place): unknown {
  return (holder as Record<string | number, unknown>)[key];
}

function put({ holder, key }: Place, value: unknown): void {
  Object.defineProperty(holder, key, { value, configurable: true, enumerable: true, writable: true });
}

function numberNear(value: unknown, random: Random): unknown {
  if (typeof value !== "number") return random.below(100);
  const ways = [value + 1, value - 1, -value, value * 2, value / 2, value * 1e6, value + 0.5, 0, Number.MAX_VALUE];
  return ways[random.below(ways.length)];
}

function written(value: unknown): string | null {
  const text = JSON.stringify(value) ?? "null";
  const marks = [...text.matchAll(RAW_MARKS)];
  const length = marks.reduce((sum, [, index]) => sum + RAW[Number(index)]!.length, text.length);
  if (length > MOST_CHARACTERS) return null;
  return text.replace(RAW_MARKS, (_, index) => RAW[Number(index)]!).replaceAll(`${MARK}__proto__`, "__proto__");
}
