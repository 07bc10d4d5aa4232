/** Schemas that answers must meet, worked out by the engine of grammars in its thread, and followed token by token through the server. */
import { Random } from "@flashwick/core";
import { ChatTemplate, type ServedRequest, type ServedSummary, type ServedToken } from "@flashwick/runtime";
import { ModelServer, ServerMetrics } from "@flashwick/server";
import { GrammarThreads } from "@flashwick/server/node";
import { BrokenPromise, choiceOf, type Harness, jsonBytes, textOf } from "../harness.js";

const MiB = 2 ** 20;
/** For one schema, and for each of its tokens. */
const COMPILE_MS = 1000;
const STEP_MS = 500;
/** Of the thread's WebAssembly. */
const MEMORY_BYTES = 128 * MiB;
/** Of the process, beyond what it had with its first schema: a thread that is being replaced and the one that replaces it, and what V8 needs. */
const MOST_RESIDENT_BYTES = 1024 * MiB;
const MOST_TOKENS = 48;

const WORDS = ["true", "false", "null", '{"', '":', '", "', '"}', "[", "]", "-1", "0.5", "e9", "\\u00", '"a"'];
const encoder = new TextEncoder();
const tokenBytes = [
  ...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)),
  ...WORDS.map((word) => encoder.encode(word)),
  null,
];
const STOP = tokenBytes.length - 1;
/** A model may have more logits than tokens. */
const VOCAB_SIZE = tokenBytes.length + 3;

const threads = new GrammarThreads(
  { bytes: tokenBytes, vocabSize: VOCAB_SIZE, stopToken: STOP },
  { threads: 1, maxWaiting: 1, compileMs: COMPILE_MS, stepMs: STEP_MS, maxMemoryBytes: MEMORY_BYTES },
);

/** Chosen by the input that is read: what follows must be the same the next time. */
let random = new Random(1);
let broken: BrokenPromise | null = null;

const scheduler = {
  load: { running: 0, waiting: 0, sequences: 1 },
  async *generate({ constraint, signal }: ServedRequest): AsyncGenerator<ServedToken, ServedSummary> {
    const written: number[] = [];
    let isWhole = false;
    for (let count = 0; constraint && count < MOST_TOKENS && !isWhole; count++) {
      const allowed = allowedBy(constraint);
      signal?.throwIfAborted();
      if (allowed.length === 0) throw (broken = new BrokenPromise("a grammar that allows nothing, not even the end"));
      const token = allowed[random.below(allowed.length)]!;
      isWhole = token === STOP;
      if (isWhole) break;
      const bytes = tokenBytes[token];
      if (!bytes) throw (broken = new BrokenPromise(`a grammar that allows token ${token}, which writes nothing`));
      written.push(token);
      takeBackAndAgain(constraint, token);
      isWhole = constraint.isComplete;
      signal?.throwIfAborted();
    }
    const text = new TextDecoder().decode(Uint8Array.from(written.flatMap((token) => [...tokenBytes[token]!])));
    if (isWhole) demandJson(text);
    yield { text, token: 1, logprob: null, finishReason: null };
    return {
      ...{
        promptTokens: 1,
        reusedTokens: 0,
        tokens: written,
        finishReason: isWhole ? ("stop" as const) : ("length" as const),
      },
      ...{ queuedMs: 0, promptMs: 0, decodeMs: 0, flashBytes: 0, hits: 0, misses: 0 },
    };
  },
};

type Constraint = NonNullable<ServedRequest["constraint"]>;

/** Ids that may come next. */
function allowedBy(constraint: Constraint): number[] {
  const logits = new Float32Array(VOCAB_SIZE);
  constraint.mask(logits);
  return [...logits.keys()].filter((id) => logits[id] === 0);
}

/** As drafts do. */
function takeBackAndAgain(constraint: Constraint, token: number): void {
  constraint.accept(token);
  if (random.below(4) !== 0 || constraint.isComplete) return;
  constraint.rollback(1);
  constraint.accept(token);
}

/** A document that the grammar calls whole is JSON; a number that is too large for a double is, too. */
function demandJson(text: string): void {
  try {
    JSON.parse(text);
  } catch {
    throw (broken = new BrokenPromise(`a whole document that is no JSON: ${JSON.stringify(text).slice(0, 300)}`));
  }
}

const server = new ModelServer(
  {
    served: {
      ...{ name: "m", createdSeconds: 0, fingerprint: "fw_0", contextTokens: 4096, vocabSize: VOCAB_SIZE },
      tokenizer: { encode: () => [1], decode: () => "x" },
      chatTemplate: new ChatTemplate("{{ messages[0].content }}", { fileName: "m" }),
    },
    ...{
      scheduler,
      grammars: threads,
      metrics: new ServerMetrics(scheduler, null),
      clock: () => 0,
      nowSeconds: () => 0,
    },
  },
  { loopbackOnly: true },
);

const SCHEMAS: readonly unknown[] = [
  { type: "object", properties: { a: { type: "boolean" } }, required: ["a"], additionalProperties: false },
  { type: "array", items: { anyOf: [{ type: "integer", minimum: -5, maximum: 99 }, { type: "null" }] }, maxItems: 3 },
  { type: "string", pattern: "^[a-c]{1,4}(x|yz)?$" },
  { type: "string", format: "date-time" },
  { type: "number", exclusiveMinimum: 0.5 },
  { enum: [1, "x", null, true, { a: [2] }] },
  {
    $ref: "#/$defs/a",
    $defs: { a: { type: "array", prefixItems: [{ const: 1 }, { $ref: "#/$defs/a" }], items: false } },
  },
  { type: "object", additionalProperties: { type: "string", maxLength: 3 }, minProperties: 1, maxProperties: 2 },
  { oneOf: [{ type: "object", properties: { b: { type: "string", minLength: 2 } } }, { const: "c" }] },
];

let firstResident: number | null = null;

/** A schema, as it comes in a request for a chat. */
export const grammar: Harness = {
  name: "grammar",
  form: "json",
  words: [
    ...["type", "object", "array", "string", "number", "integer", "boolean", "null", "properties", "items", "required"],
    ...["$ref", "#", "#/$defs/a", "#/properties/a", "$defs", "anyOf", "oneOf", "allOf", "enum", "const", "prefixItems"],
    ...[
      "pattern",
      "(a+)+$",
      "[^\\u0000]",
      "(((a|b)*c)*d){9}",
      "a{1,99999}",
      "\\d\\w\\s",
      "^$",
      "[z-a]",
      "format",
      "email",
    ],
    ...["date-time", "uuid", "uri", "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum", "1e308"],
    ...["minProperties", "maxProperties", "additionalProperties", "unevaluatedProperties", "a", "__proto__", "\\ud800"],
  ],
  maxBytes: 16 * 1024,
  // Compiling, a token that is late, and a thread that is started for the next schema.
  limits: { ms: COMPILE_MS + STEP_MS + 4000, growthBytes: 64 * MiB },
  // A schema that is refused takes its thread with it: the next one waits for another.
  shortInputs: 24,
  seeds: async () => SCHEMAS.map(jsonBytes),
  async read(input) {
    random = new Random(choiceOf(input, 2 ** 20));
    broken = null;
    const body = `{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":${textOf(input)}}}}`;
    const headers = { "content-type": "application/json" };
    const request = new Request("http://localhost/v1/chat/completions", { method: "POST", body, headers });
    const response = await server.fetch(request);
    const answer = await response.text();
    if (broken !== null) throw broken;
    if (response.status >= 500) throw new BrokenPromise(`status ${response.status}: ${answer.slice(0, 300)}`);
    if (response.status >= 400 && typeof JSON.parse(answer).error?.code !== "string")
      throw new BrokenPromise("an error without a code");
    const resident = process.memoryUsage.rss();
    firstResident ??= resident;
    if (resident - firstResident > MOST_RESIDENT_BYTES) throw new BrokenPromise(`${resident} bytes are resident`);
  },
};
