/** The settings of a run as they are saved, linked and restored: plain data, checked field by field when they come from elsewhere. */
import { InputError } from "@flashwick/core";

const POLICIES = ["window", "lru", "lfu", "pinned"] as const;
const DRAFTS = ["off", "lookup", "auto", "lossless"] as const;
const BACKENDS = ["wasm", "webgpu"] as const;

/** Null always means: what suits. */
export interface RunSettings {
  /** Of the model file. */
  readonly budgetPercent: number;
  readonly maxTokens: number;
  /** 0: the likeliest token. */
  readonly temperature: number;
  /** Tokens. */
  readonly window: number | null;
  readonly policy: (typeof POLICIES)[number] | null;
  /** Name of a predictor file; null: the one beside the model. */
  readonly predictor: string | null;
  /** A logit; null: calibrated, by layer. */
  readonly threshold: number | null;
  readonly drafts: (typeof DRAFTS)[number];
  readonly backend: (typeof BACKENDS)[number];
  readonly threads: number | null;
  readonly readers: number | null;
}

/** What a page begins with; of the budget, half of the file. */
export const DEFAULT_SETTINGS: RunSettings = {
  ...{ budgetPercent: 50, maxTokens: 96, temperature: 0, window: null, policy: null, predictor: null, threshold: null },
  ...{ drafts: "off", backend: "wasm", threads: null, readers: null },
};

/** What a field may be, in words, and whether a value is. */
interface Field {
  readonly expected: string;
  readonly accepts: (value: unknown) => boolean;
}

const within = (low: number, high: number): Field => ({
  expected: `a number from ${low} to ${high}`,
  accepts: (value) => typeof value === "number" && value >= low && value <= high,
});
const oneOf = (names: readonly string[]): Field => ({
  expected: `one of ${names.join(", ")}`,
  accepts: (value) => names.includes(value as string),
});
const orNull = ({ expected, accepts }: Field): Field => ({
  expected: `${expected}, or null`,
  accepts: (value) => value === null || accepts(value),
});
const text: Field = { expected: "a text", accepts: (value) => typeof value === "string" };

const FIELDS: Readonly<Record<keyof RunSettings, Field>> = {
  budgetPercent: within(1, 200),
  maxTokens: within(1, 1024),
  temperature: within(0, 2),
  window: orNull(within(1, 32)),
  policy: orNull(oneOf(POLICIES)),
  predictor: orNull(text),
  threshold: orNull(within(-6, 3)),
  drafts: oneOf(DRAFTS),
  backend: oneOf(BACKENDS),
  threads: orNull(within(1, 8)),
  readers: orNull(within(0, 16)),
};

/** Names of all settings, in the order in which they are saved. */
export const SETTING_NAMES = Object.keys(FIELDS) as (keyof RunSettings)[];

/**
 * Checks settings that come from a file or an address.
 *
 * @param where Begins the message: the file, or the address.
 * @returns The known fields; those that are absent are the defaults.
 * @throws {InputError} `INPUT_INVALID` naming the field, what was expected and what was found.
 */
export function checkSettings(where: string, from: object): RunSettings {
  const given = Object.entries(from).filter(([name]) => name in FIELDS);
  for (const [name, value] of given) {
    const { expected, accepts } = FIELDS[name as keyof RunSettings];
    if (accepts(value)) continue;
    const message = `${where}: ${name} is ${JSON.stringify(value)}, expected ${expected}; save or copy it again`;
    throw new InputError("INPUT_INVALID", message);
  }
  return { ...DEFAULT_SETTINGS, ...Object.fromEntries(given) };
}
