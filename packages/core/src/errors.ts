/**
 * Typed errors for the world; `assert` (assert.ts) is for our own bugs.
 *
 * Every message says where (file, byte offset, tensor), what was expected, what was found and what to do.
 * Errors are recognised by a marker symbol, not by `instanceof`, so that two copies of this package in one
 * dependency tree still recognise each other's errors.
 */

const marker = Symbol.for("flashwick.error");

/** Stable error codes; the prefix names the subclass. Adding is free, renaming is a major change. */
export type ErrorCode =
  | "FORMAT_NOT_GGUF"
  | "FORMAT_NOT_FLASHWICK"
  | "FORMAT_VERSION"
  | "FORMAT_TRUNCATED"
  | "FORMAT_LIMIT"
  | "FORMAT_INVALID"
  | "FORMAT_MISSING"
  | "CHECKPOINT_NOT_FOUND"
  | "CHECKPOINT_CONFIG"
  | "CHECKPOINT_SHARD_MISSING"
  | "CHECKPOINT_TENSOR_MISSING"
  | "CHECKPOINT_TENSOR_SHAPE"
  | "CHECKPOINT_TENSOR_VALUE"
  | "CHECKPOINT_PICKLE"
  | "CHECKPOINT_FILE"
  | "INTEGRITY_HEADER"
  | "INTEGRITY_TENSOR"
  | "INTEGRITY_RECORD"
  | "INTEGRITY_EXPERT"
  | "INTEGRITY_ROUTER"
  | "INTEGRITY_FINGERPRINT"
  | "INTEGRITY_DOWNLOAD"
  | "BUDGET_TOO_SMALL"
  | "BUDGET_SEQUENCES"
  | "BUDGET_KV_PAGES"
  | "UNSUPPORTED_ARCHITECTURE"
  | "UNSUPPORTED_ACTIVATION"
  | "UNSUPPORTED_FEATURE"
  | "UNSUPPORTED_TOKENIZER"
  | "INPUT_BUSY"
  | "INPUT_CONTEXT_LENGTH"
  | "INPUT_TOKEN_RANGE"
  | "INPUT_NO_TOKENIZER"
  | "INPUT_NO_CHAT_TEMPLATE"
  | "INPUT_CONVERSATION"
  | "INPUT_INVALID"
  | "IO_BUSY"
  | "IO_DENIED"
  | "IO_EXISTS"
  | "IO_FILE_CHANGED"
  | "IO_NOT_FOUND"
  | "IO_NO_SPACE"
  | "IO_RATE_LIMIT"
  | "IO_READ"
  | "IO_WRITE"
  | "THREAD_FAILED"
  | "DEVICE_LOST"
  | "QUEUE_FULL"
  | "DISPOSED"
  | "SHAPE";

/** What an error carries beside its code and message. */
export interface ErrorOptions {
  /** Machine-readable facts behind the message: JSON values only. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** Base of every error that flashwick raises about its input, its budget or its devices. */
export class FlashwickError extends Error {
  override readonly name: string = "FlashwickError";
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;
  /** Marker for {@link isFlashwickError}. */
  readonly [marker] = true;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** A file that is not what it should be: wrong magic, absurd counts, truncated, an unreadable checkpoint. */
export class FormatError extends FlashwickError {
  override readonly name = "FormatError";
}

/** Bytes that do not match their checksum or their fingerprint. */
export class IntegrityError extends FlashwickError {
  override readonly name = "IntegrityError";
}

/** A DRAM budget that cannot hold the work; `details.smallestBudgetBytes` would. */
export class BudgetError extends FlashwickError {
  override readonly name = "BudgetError";
}

/** Well-formed input that flashwick does not implement; the feature is named. */
export class UnsupportedError extends FlashwickError {
  override readonly name = "UnsupportedError";
}

/** A request that cannot be met: prompt too long, token id out of range, option of the wrong kind. */
export class InputError extends FlashwickError {
  override readonly name = "InputError";
}

/** The operating system, or a server, refused or failed a file operation. */
export class IoError extends FlashwickError {
  override readonly name = "IoError";
}

/** A graphics device that is gone, or refused what it was told; what it held is lost. */
export class DeviceLostError extends FlashwickError {
  override readonly name = "DeviceLostError";
  constructor(message: string, options: ErrorOptions = {}) {
    super("DEVICE_LOST", message, options);
  }
}

/** Use of a model, session or file after `close()`. */
export class DisposedError extends FlashwickError {
  override readonly name = "DisposedError";
  constructor(what: string) {
    super("DISPOSED", `${what} is closed; open it again`);
  }
}

/** True for any flashwick error, from any copy of this package. */
export function isFlashwickError(error: unknown): error is FlashwickError {
  return typeof error === "object" && error !== null && (error as Record<symbol, unknown>)[marker] === true;
}
