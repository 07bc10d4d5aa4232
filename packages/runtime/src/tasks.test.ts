import { readFileSync } from "node:fs";
import { isFlashwickError, memorySource } from "@flashwick/core";
import { readPredictorFile } from "@flashwick/flash-format";
import { describe, expect, it } from "vitest";
import { openFixture } from "./checkpoint.fixture.js";
import { scoreTokens } from "./score.js";
import { evaluateTasks, parseTasks } from "./tasks.js";

const demo = new URL("../../demo-models/", import.meta.url);
const line = (task: object) => JSON.stringify(task);
const GOOD = {
  context: "In the beginning God created",
  endings: [" the heaven and the earth.", " zqx jjkv bbq wv."],
  label: 0,
};

function messageOf(text: string): string {
  try {
    parseTasks(text, "tasks.jsonl");
  } catch (error) {
    if (isFlashwickError(error)) return error.message;
    throw error;
  }
  return "";
}

it("a label that nests too deep ran out of stack: it is a bad line like any other", () => {
  const line = `{"context":"a","endings":[" b"," c"],"label":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
  expect(() => parseTasks(line, "tasks.jsonl")).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }));
});

describe("parseTasks", () => {
  it("reads lines, skips empty ones, ignores other fields", () => {
    expect(parseTasks(`${line({ ...GOOD, id: 7 })}\r\n\n${line(GOOD)}\n`, "tasks.jsonl")).toEqual([GOOD, GOOD]);
  });

  it.each([
    ["no JSON", "{", /line 2: no JSON/],
    ["no object", "[1]", /line 2: no object/],
    ["no context", line({ ...GOOD, context: 3 }), /line 2: context is number/],
    ["one ending", line({ ...GOOD, endings: ["a"] }), /line 2: endings/],
    ["an empty ending", line({ ...GOOD, endings: ["a", ""] }), /line 2: endings/],
    ["a label beyond", line({ ...GOOD, label: 2 }), /line 2: label is 2, expected an index from 0 to 1/],
    ["a label that is no number", line({ ...GOOD, label: "0" }), /line 2: label is "0"/],
  ])("names the line of %s", (_, bad, expected) => {
    expect(messageOf(`${line(GOOD)}\n${bad}\n`)).toMatch(expected);
  });

  it("counts the bad lines beyond ten, and refuses a file without tasks", () => {
    expect(messageOf(new Array(13).fill("{").join("\n"))).toMatch(/and 3 lines more/);
    expect(messageOf("\n")).toMatch(/0 tasks/);
  });
});

describe("evaluateTasks", () => {
  it("sums the log-probabilities that score gives, dense and with a predictor", async () => {
    const bytes = readFileSync(new URL("models/opt-demo/opt-demo.predictor.gguf", demo));
    const predictor = await readPredictorFile(memorySource(bytes, "opt-demo.predictor.gguf"));
    for (const options of [{}, { predictor }]) {
      const model = await openFixture("opt-demo", options);
      const bos = model.header.geometry.bosTokenId!;
      const wrong = { ...GOOD, label: 1 };
      const result = await evaluateTasks(model, [GOOD, wrong]);
      const logprobs: number[] = [];
      for (const ending of GOOD.endings) {
        const before = model.tokenizer.encode(GOOD.context, false).length;
        const tokens = [bos, ...model.tokenizer.encode(GOOD.context + ending, false)];
        const positions = await scoreTokens(model, tokens);
        logprobs.push(positions.slice(before + 1).reduce((sum, { logprob }) => sum + logprob!, 0));
      }
      expect(logprobs[0]! / GOOD.endings[0]!.length).toBeGreaterThan(logprobs[1]! / GOOD.endings[1]!.length);
      expect(result).toMatchObject({ tasks: 2, accuracyNorm: 0.5, chance: 0.5, choices: [0, 0] });
      expect(result.accuracy).toBe(0.5);
      await model.close();
    }
  });

  it("a context longer than the model's loses its beginning; an ending that is, is refused", async () => {
    const model = await openFixture("opt-demo");
    const long = { ...GOOD, context: "word ".repeat(1500) };
    expect((await evaluateTasks(model, [long])).tasks).toBe(1);
    const endless = { ...GOOD, endings: [" a", ` ${"word ".repeat(1500)}`] };
    await expect(evaluateTasks(model, [endless])).rejects.toMatchObject({ code: "INPUT_CONTEXT_LENGTH" });
    await model.close();
  });
});
