/**
 * A result as a file: JSON that says what was run, on what, what came of it, token by token, and how anyone runs it again. Described in the README of
 * the lab; the version changes when a field changes its meaning or goes, not when one is added.
 */
import { InputError } from "@flashwick/core";
import type { ChatMessage } from "@flashwick/runtime";
import { checkSettings, type RunSettings } from "./run-settings.js";

export const RESULT_FORMAT = "flashwick-lab-result";
export const RESULT_VERSION = 1;

/** What the model was given. */
export type RunInput =
  | { readonly kind: "text"; readonly prompt: string }
  /** The messages before the reply, the system prompt among them if there was one. */
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[] };

/** The model that was run. */
export interface ResultModel {
  readonly name: string;
  readonly fileBytes: number;
  /** Of the file, hex; null: nobody waited for it. */
  readonly sha256: string | null;
  /** `<owner>/<repository>/<file>` of a hub, or null. */
  readonly from: string | null;
  readonly architecture: string;
  readonly layers: number;
  readonly dtype: string;
}

/** A step of decoding: a token, and the drafts after it that were accepted. Times in milliseconds. */
export interface ResultStep {
  /** Of the token that it begins with. */
  readonly text: string;
  readonly tokens: number;
  readonly drafted: number;
  readonly ms: number;
  readonly phaseMs: Readonly<Record<string, number>>;
  readonly readBytes: number;
  readonly reads: number;
  /** Neurons or experts that memory held, and that had to be read. */
  readonly hits: number;
  readonly misses: number;
}

export interface LabResult {
  readonly format: typeof RESULT_FORMAT;
  readonly version: typeof RESULT_VERSION;
  /** ISO 8601. */
  readonly madeAt: string;
  readonly model: ResultModel;
  readonly settings: RunSettings;
  readonly input: RunInput;
  /** What the model said: without the prompt. */
  readonly text: string;
  /** The first token comes out of the prompt and has no step. */
  readonly steps: readonly ResultStep[];
  readonly totals: {
    readonly tokens: number;
    readonly end: string;
    readonly tokensPerSec: number;
    readonly firstTokenMs: number | null;
    readonly tokenMs: { readonly p50: number; readonly p99: number; readonly max: number };
    readonly readBytesPerToken: number;
    /** Of the neurons or experts that tokens used, 0 to 1; null: none was asked for. */
    readonly foundInMemory: number | null;
    readonly memoryBytes: number;
  };
  /** Null: nothing was predicted. */
  readonly predicted: { readonly tokenMs: number; readonly flashBytesPerToken: number; readonly device: string } | null;
  readonly machine: {
    readonly userAgent: string;
    readonly cores: number;
    /** As the browser tells it, which is never more than 8; null: it does not. */
    readonly memoryGiB: number | null;
    /** Whether memory could be shared between threads. */
    readonly isolated: boolean;
    readonly backend: string;
    readonly threads: number;
    readonly readers: number;
    /** What the self-test said. */
    readonly kernels: string;
  };
  readonly rerun: {
    /** For a shell, in the folder of the model. */
    readonly command: string;
    /** Of this page, with these settings. */
    readonly link: string;
    /** In what the command differs from the page. */
    readonly notes: readonly string[];
  };
}

/** What a result is restored from. */
export type RestoredResult = Pick<LabResult, "settings" | "input" | "text"> & {
  readonly model: Pick<ResultModel, "name" | "fileBytes" | "sha256" | "from">;
};

/**
 * Reads a result that was saved.
 *
 * @param name Of the file, for messages.
 * @throws {InputError} `INPUT_INVALID` naming the file and the field, what was expected and what was found.
 */
export function readResult(name: string, json: string): RestoredResult {
  const file = objectIn(name, "the file", parsed(name, json));
  demand(name, "format", file.format, file.format === RESULT_FORMAT, RESULT_FORMAT);
  demand(name, "version", file.version, file.version === RESULT_VERSION, `${RESULT_VERSION}`);
  const model = objectIn(name, "model", file.model);
  const { sha256 = null, from = null } = model;
  demand(name, "model.name", model.name, typeof model.name === "string" && model.name !== "", "a name");
  demand(name, "model.fileBytes", model.fileBytes, typeof model.fileBytes === "number", "a number");
  demand(name, "model.sha256", sha256, sha256 === null || isHex(sha256), "64 hexadecimal digits, or null");
  demand(name, "model.from", from, from === null || typeof from === "string", "a text, or null");
  demand(name, "text", file.text, typeof file.text === "string", "a text");
  return {
    model: { name: model.name, fileBytes: model.fileBytes, sha256, from } as RestoredResult["model"],
    settings: checkSettings(name, objectIn(name, "settings", file.settings)),
    input: inputIn(name, objectIn(name, "input", file.input)),
    text: file.text as string,
  };
}

function parsed(name: string, json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new InputError("INPUT_INVALID", `${name}: expected JSON, as the lab saves it; ${(error as Error).message}`);
  }
}

function inputIn(name: string, input: Readonly<Record<string, unknown>>): RunInput {
  const { kind, prompt, messages } = input;
  demand(name, "input.kind", kind, kind === "text" || kind === "chat", "text or chat");
  if (kind === "text") {
    demand(name, "input.prompt", prompt, typeof prompt === "string", "a text");
    return { kind, prompt: prompt as string };
  }
  demand(
    name,
    "input.messages",
    messages,
    Array.isArray(messages) && messages.every(isMessage),
    "messages with role and content",
  );
  return { kind: "chat", messages: messages as ChatMessage[] };
}

function isMessage(value: unknown): boolean {
  const { role, content } = (value ?? {}) as Partial<ChatMessage>;
  return ["system", "user", "assistant"].includes(role as string) && typeof content === "string";
}

function isHex(value: unknown): boolean {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

function objectIn(name: string, field: string, value: unknown): Readonly<Record<string, unknown>> {
  demand(name, field, value, typeof value === "object" && value !== null && !Array.isArray(value), "an object");
  return value as Readonly<Record<string, unknown>>;
}

function demand(name: string, field: string, found: unknown, holds: boolean, expected: string): void {
  if (holds) return;
  const shown = JSON.stringify(found) ?? "nothing";
  const message = `${name}: ${field} is ${shown.slice(0, 80)}, expected ${expected}; give a result that this page has saved`;
  throw new InputError("INPUT_INVALID", message);
}
