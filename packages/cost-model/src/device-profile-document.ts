/**
 * A device profile as a JSON document: checked when it is loaded, since people edit them and other versions write them. Every figure must be
 * there and make sense; what is more than that (when and where it was measured) is let pass.
 */
import { DTYPES, findSparsityFault, InputError, type SparsityStatistics, showValue } from "@flashwick/core";
import * as v from "valibot";
import type { DeviceProfile } from "./device-profile.js";
import { checkLocality, type ExpertLocality } from "./expert-locality.js";
import type { MixtureShape } from "./mixture-shape.js";

/** Faster than anything that is sold: a slip of the unit. */
const MOST_BYTES_PER_SEC = 1e14;
const MOST_FLOP_PER_SEC = 1e16;
const MOST_US = 1e7;
const MOST_NS = 1e9;
/** Of a layer: more than any published model has. */
const MOST_EXPERTS = 4096;

const finite = v.pipe(v.number(), v.finite());
const positive = (most: number) => v.pipe(finite, v.gtValue(0), v.maxValue(most));
const notNegative = (most: number) => v.pipe(finite, v.minValue(0), v.maxValue(most));
const count = (least: number, most: number) => v.pipe(finite, v.integer(), v.minValue(least), v.maxValue(most));
const text = v.pipe(v.string(), v.minLength(1));
const rate = positive(MOST_BYTES_PER_SEC);
const share = v.nullable(v.pipe(finite, v.gtValue(0), v.maxValue(1)));
const dtype = v.picklist(DTYPES);
const nonEmpty = <T extends v.GenericSchema>(entry: T) => v.pipe(v.array(entry), v.minLength(1), v.maxLength(4096));

const readPoint = v.object({
  sizeBytes: count(1, 2 ** 30),
  depth: count(1, 65536),
  bytesPerSec: rate,
  spread: v.nullable(notNegative(100)),
});

const flash = v.object({
  mode: v.picklist(["direct", "buffered"]),
  alignmentBytes: count(1, 2 ** 20),
  sequentialBytesPerSec: rate,
  reads: nonEmpty(readPoint),
  batches: nonEmpty(v.object({ depth: count(1, 65536), us: notNegative(MOST_US) })),
  pieceUs: notNegative(MOST_US),
  shareUnderCompute: share,
  computeShareUnderReads: share,
  pageCache: v.nullable(v.object({ operationUs: notNegative(MOST_US), bytesPerSec: rate })),
  stream: v.nullable(
    v.object({
      chunks: nonEmpty(readPoint),
      firstMemory: v.optional(
        v.nullable(v.object({ sizeBytes: count(1, Number.MAX_SAFE_INTEGER), chunks: nonEmpty(readPoint) })),
        null,
      ),
      chunkUs: notNegative(MOST_US),
      shareUnderCompute: share,
      computeShareUnderReads: share,
    }),
  ),
});

const kernel = v.object({
  op: v.picklist(["linear", "neurons", "checksum", "attention"]),
  dtype: v.nullable(dtype),
  threads: count(1, 4096),
  workingSetBytes: count(1, Number.MAX_SAFE_INTEGER),
  bytesPerSec: rate,
});

const profile = v.object({
  schemaVersion: v.literal(2),
  name: text,
  source: text,
  cores: count(1, 4096),
  flash,
  dramBytesPerSec: rate,
  kernels: nonEmpty(kernel),
  batch: v.pipe(
    v.array(v.object({ dtype, threads: count(1, 4096), flopPerSec: positive(MOST_FLOP_PER_SEC) })),
    v.maxLength(4096),
  ),
  handOffUs: notNegative(MOST_US),
  opUs: notNegative(MOST_US),
  management: v.object({
    nsPerNamed: notNegative(MOST_NS),
    nsPerLoaded: notNegative(MOST_NS),
    nsPerScore: notNegative(MOST_NS),
    copyBytesPerSec: v.nullable(rate),
  }),
});

/**
 * @param value Parsed JSON.
 * @param where For messages: the file's name.
 * @throws {InputError} `INPUT_INVALID` with `details.field`, for example `flash.reads[3].bytesPerSec`.
 */
export function parseDeviceProfile(value: unknown, where: string): DeviceProfile {
  return parse(profile, value, where, "a device profile as `flashwick profile -o` writes it; measure again");
}

const statistics = v.object({
  source: text,
  unionTokens: nonEmpty(count(1, 65536)),
  layers: nonEmpty(
    v.object({
      activeShare: v.nullable(notNegative(1)),
      unionShare: nonEmpty(finite),
      freshShare: nonEmpty(finite),
      unevenness: v.nullable(notNegative(1e6)),
    }),
  ),
  clumping: v.nullable(finite),
  namedQuantiles: v.nullable(v.object({ p50: finite, p90: finite, p99: finite })),
});

/**
 * Sparsity statistics as JSON: by themselves, or as the field `sparsity` of a larger document, as `flashwick eval --json` prints.
 *
 * @throws {InputError} `INPUT_INVALID` with `details.field`.
 */
export function parseSparsity(value: unknown, where: string): SparsityStatistics {
  const inner = typeof value === "object" && value !== null && "sparsity" in value ? value.sparsity : value;
  const parsed = parse(statistics, inner, where, "sparsity statistics as in the output of `flashwick eval --json`");
  const fault = findSparsityFault(parsed, parsed.layers.length);
  if (fault === null) return parsed;
  throw new InputError(
    "INPUT_INVALID",
    `${where}: field ${fault.field} is ${showValue(fault.found)}, expected ${fault.expected}`,
    { details: { field: fault.field } },
  );
}

const locality = v.object({
  source: text,
  hitShareByLayer: nonEmpty(v.nullable(v.pipe(v.array(finite), v.maxLength(MOST_EXPERTS + 1)))),
});

/**
 * The locality of a mixture's experts, or an object that holds it as `locality`.
 *
 * @throws {InputError} `INPUT_INVALID` naming `where` and the field.
 */
export function parseLocality(value: unknown, where: string, mixture: MixtureShape): ExpertLocality {
  const inner = typeof value === "object" && value !== null && "locality" in value ? value.locality : value;
  const parsed = parse(locality, inner, where, "an object of `source` and `hitShareByLayer`");
  checkLocality(parsed, mixture, where);
  return parsed;
}

function parse<T extends v.GenericSchema>(schema: T, value: unknown, where: string, whole: string): v.InferOutput<T> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const field = fieldName(issue.path);
  const expected = issue.expected ?? "another value";
  const found = issue.received === "undefined" ? "nothing" : issue.received;
  const message =
    field === ""
      ? `${where}: found ${found}, expected ${whole}`
      : `${where}: field ${field} is ${found}, expected ${expected}; this should be ${whole}`;
  throw new InputError("INPUT_INVALID", message, { details: { field } });
}

/** `flash.reads[3].bytesPerSec` */
function fieldName(path: readonly { readonly key?: unknown }[] | undefined): string {
  return (path ?? []).reduce(
    (name, { key }) => (typeof key === "number" ? `${name}[${key}]` : name === "" ? `${key}` : `${name}.${key}`),
    "",
  );
}
