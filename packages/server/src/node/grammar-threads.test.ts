/** Grammars as a text follows them: masks, rollback, and bounds that hold. */
import fc from "fast-check";
import { afterEach, expect, it } from "vitest";
import type { TextGrammar } from "../text-grammar.js";
import { GrammarThreads, type GrammarThreadsOptions } from "./grammar-threads.js";

/** Single bytes, some words, and an end. */
const WORDS = ["true", "false", '"a":', "null", '{"', '"}'];
const bytes = [
  ...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)),
  ...WORDS.map((word) => new TextEncoder().encode(word)),
  null,
];
const STOP = bytes.length - 1;
/** A model may have more logits than tokens. */
const VOCAB_SIZE = bytes.length + 5;

const opened: GrammarThreads[] = [];
afterEach(() => Promise.all(opened.splice(0).map((threads) => threads.close())));

function open(options: Partial<GrammarThreadsOptions> = {}, stopToken: number | null = STOP): GrammarThreads {
  const threads = new GrammarThreads(
    { bytes, vocabSize: VOCAB_SIZE, stopToken },
    { threads: 2, maxWaiting: 1, ...options },
  );
  opened.push(threads);
  return threads;
}

const signal = new AbortController().signal;
const grammarOf = async (schema: object, threads = open()): Promise<TextGrammar> =>
  (await threads.open(JSON.stringify(schema), 1, signal))[0]!;

/** Ids of the tokens that may come next. */
function allowed(grammar: TextGrammar): number[] {
  const logits = new Float32Array(VOCAB_SIZE).fill(1);
  grammar.mask(logits);
  return [...logits.keys()].filter((id) => logits[id] === 1);
}

const idsOf = (text: string) => [...new TextEncoder().encode(text)];

function follow(grammar: TextGrammar, text: string): void {
  for (const id of idsOf(text)) {
    expect(allowed(grammar)).toContain(id);
    grammar.accept(id);
  }
}

const FLAG = { type: "object", properties: { a: { type: "boolean" } }, required: ["a"] };

it("allows a document of the schema, token by token, and then the end alone", async () => {
  const grammar = await grammarOf(FLAG);
  expect(grammar.isComplete).toBe(false);
  follow(grammar, '{"a":');
  expect(allowed(grammar)).toEqual(expect.arrayContaining([...idsOf("tf"), 256, 257]));
  expect(allowed(grammar)).not.toContain(STOP);
  grammar.accept(256);
  follow(grammar, "}");
  expect([allowed(grammar), grammar.isComplete]).toEqual([[STOP], true]);
});

it("is complete where the document ends, if no token ends a text", async () => {
  const grammar = await grammarOf(FLAG, open({}, null));
  follow(grammar, '{"a":true');
  expect(grammar.isComplete).toBe(false);
  follow(grammar, "}");
  expect(grammar.isComplete).toBe(true);
});

it("takes tokens back as if they had never come", async () => {
  const schema = {
    type: "array",
    items: { anyOf: [{ type: "boolean" }, { type: "string", maxLength: 3 }] },
    maxItems: 4,
  };
  const threads = open({ threads: 1 });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(), fc.nat(3)), { minLength: 1, maxLength: 12 }), async (steps) => {
      const grammar = await grammarOf(schema, threads);
      const masks = [allowed(grammar)];
      for (const [choice, back] of steps) {
        const choices = masks.at(-1)!.filter((id) => id !== STOP);
        if (choices.length === 0) break;
        grammar.accept(choices[choice % choices.length]!);
        masks.push(allowed(grammar));
        const taken = Math.min(back, masks.length - 1);
        grammar.rollback(taken);
        masks.splice(masks.length - taken, taken);
        expect(allowed(grammar)).toEqual(masks.at(-1));
      }
      grammar.release();
    }),
    { numRuns: 25 },
  );
});

it("never allows tokens that write nothing, nor logits without a token", async () => {
  const grammar = await grammarOf({ type: "string" });
  follow(grammar, '"');
  const silent = Array.from({ length: VOCAB_SIZE - STOP }, (_, i) => STOP + i);
  expect(allowed(grammar).filter((id) => silent.includes(id))).toEqual([]);
});

it("white space cannot go on for ever", async () => {
  const grammar = await grammarOf(FLAG, open({ maxWhitespace: 3 }));
  follow(grammar, "{   ");
  expect(allowed(grammar)).not.toContain(32);
});

it("a schema that takes too long is refused, and the next one is followed", async () => {
  const threads = open({ compileMs: 1, threads: 1 });
  const words = Array.from({ length: 20_000 }, (_, i) => `word ${i}`);
  await expect(grammarOf({ enum: words }, threads)).rejects.toMatchObject({ status: 400, code: "invalid_schema" });
  const patient = open({ threads: 1 });
  follow(await grammarOf(FLAG, patient), "{");
});

it("a schema that takes too much memory is refused", async () => {
  const words = Array.from({ length: 20_000 }, (_, i) => `word ${i} ${"x".repeat(40)}`);
  const threads = open({ maxMemoryBytes: 24 * 2 ** 20 });
  await expect(grammarOf({ enum: words }, threads)).rejects.toMatchObject({ status: 400, code: "invalid_schema" });
  follow(await grammarOf(FLAG, threads), "{");
});

it("several texts of one request have all their threads, or none; more than there are is refused", async () => {
  const threads = open({ threads: 2 });
  const schema = JSON.stringify(FLAG);
  const both = await threads.open(schema, 2, signal);
  const waits = threads.open(schema, 1, signal);
  await expect(threads.open(schema, 1, signal)).rejects.toMatchObject({ status: 429, code: "queue_full" });
  await expect(threads.open(schema, 3, signal)).rejects.toMatchObject({ status: 400, param: "n" });
  both[0]!.release();
  follow((await waits)[0]!, "{");
  follow(both[1]!, '{"a"');
});

it("who gives up waiting leaves the queue, and ends a compilation that nobody wants", async () => {
  const threads = open({ threads: 1 });
  const held = await grammarOf(FLAG, threads);
  const leaving = new AbortController();
  const waits = threads.open(JSON.stringify(FLAG), 1, leaving.signal);
  leaving.abort(new Error("gone"));
  await expect(waits).rejects.toThrow("gone");
  held.release();
  const left = new AbortController();
  const compiling = threads.open(JSON.stringify(FLAG), 1, left.signal);
  left.abort(new Error("gone, too"));
  await expect(compiling).rejects.toThrow("gone, too");
  follow(await grammarOf(FLAG, threads), "{");
});

it("a grammar whose thread is lost ends its text, and masks nothing any more", async () => {
  const threads = open();
  const grammar = await grammarOf(FLAG, threads);
  await threads.close();
  expect(allowed(grammar)).toHaveLength(VOCAB_SIZE);
  expect(grammar.failed.aborted).toBe(true);
  expect(grammar.failed.reason).toMatchObject({ code: "invalid_schema" });
});

it("a token that was not allowed ends its text", async () => {
  const grammar = await grammarOf(FLAG);
  grammar.accept(idsOf("x")[0]!);
  expect(grammar.isComplete).toBe(false);
  expect(grammar.failed.aborted).toBe(true);
});
