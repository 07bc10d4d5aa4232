/**
 * The text and JSON files of a checkpoint (config.json, the shard index, the tokenizer's), read whole but bounded, and
 * checked against a schema so that every error names file and field.
 */
import { type ByteSource, type ErrorCode, FormatError, formatBytes, MiB } from "@flashwick/core";
import * as v from "valibot";
import type { CheckpointFolder } from "./checkpoint-folder.js";

/** The largest real one, a tokenizer.json of 256 K tokens, has about 30 MB. */
const MAX_DOCUMENT_BYTES = 64 * MiB;

/**
 * A file of the folder as text.
 *
 * @throws {FormatError} `code` if it is larger than 64 MiB or not UTF-8.
 */
export async function readText(
  folder: CheckpointFolder,
  fileName: string,
  code: ErrorCode,
  signal?: AbortSignal,
): Promise<string> {
  const source = await folder.open(fileName);
  try {
    return await readWhole(source, fileName, code, signal);
  } finally {
    await source.close();
  }
}

async function readWhole(source: ByteSource, fileName: string, code: ErrorCode, signal?: AbortSignal): Promise<string> {
  if (source.sizeBytes > MAX_DOCUMENT_BYTES) {
    throw new FormatError(
      code,
      `${fileName}: expected at most ${formatBytes(MAX_DOCUMENT_BYTES)}, found ${formatBytes(source.sizeBytes)}`,
      { details: { file: fileName, sizeBytes: source.sizeBytes } },
    );
  }
  const bytes = new Uint8Array(source.sizeBytes);
  await source.read(bytes, 0, signal);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError(code, `${fileName}: expected UTF-8 text; the file is damaged, fetch it again`, {
      cause,
      details: { file: fileName },
    });
  }
}

/** `text` as JSON of the form `schema`. @throws {FormatError} `code`, naming file and field. */
export function parseDocument<const TSchema extends v.GenericSchema>(
  schema: TSchema,
  text: string,
  fileName: string,
  code: ErrorCode,
): v.InferOutput<TSchema> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(code, `${fileName}: expected JSON: ${(cause as Error).message}`, {
      cause,
      details: { file: fileName },
    });
  }
  return checkDocument(schema, value, fileName, code);
}

/** `value` in the form `schema`. @throws {FormatError} `code`, naming file and field. */
export function checkDocument<const TSchema extends v.GenericSchema>(
  schema: TSchema,
  value: unknown,
  fileName: string,
  code: ErrorCode,
): v.InferOutput<TSchema> {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const issue = result.issues[0];
  const field = v.getDotPath(issue);
  const expected = issue.expected ?? issue.message;
  throw new FormatError(
    code,
    `${fileName}: ${field ? `field ${field}: ` : ""}expected ${expected}, found ${issue.received}`,
    { details: { file: fileName, field, expected, found: issue.received } },
  );
}

/** A JSON document of the folder in the form `schema`. @throws {FormatError} `code`, naming file and field. */
export async function readDocument<const TSchema extends v.GenericSchema>(
  schema: TSchema,
  folder: CheckpointFolder,
  fileName: string,
  code: ErrorCode,
  signal?: AbortSignal,
): Promise<v.InferOutput<TSchema>> {
  return parseDocument(schema, await readText(folder, fileName, code, signal), fileName, code);
}
