/** A run as a command and as a link: what a shell and the page read is what was meant. */
import { execFileSync } from "node:child_process";
import { expect, it } from "vitest";
import { commandOf, linkTo, type Rerun, readLink } from "./rerun.js";
import { DEFAULT_SETTINGS } from "./run-settings.js";

const PAGE = "https://lab.example/?hub=x#old";
const text: Rerun = {
  model: "my model.gguf",
  from: "owner/repository/my model.gguf",
  settings: {
    ...{ budgetPercent: 37, maxTokens: 12, temperature: 0, window: 4, policy: "lfu", predictor: "it's.predictor.gguf" },
    ...{ threshold: -0.25, drafts: "lossless", backend: "wasm", threads: 3, readers: 0 },
  },
  input: { kind: "text", prompt: 'It\'s $HOME & "more"\n#1 = 100 %' },
};
const chat: Rerun = {
  model: "chat.gguf",
  from: null,
  settings: { ...DEFAULT_SETTINGS, temperature: 0.7, drafts: "auto" },
  input: {
    kind: "chat",
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Who?" },
      { role: "assistant", content: "Me." },
      { role: "user", content: "And me?" },
    ],
  },
};

/** The words of a command, as a shell passes them on. */
function wordsOf(command: string): string[] {
  const printed = execFileSync("sh", ["-c", command.replace(/^flashwick/, "printf '%s\\0'")], { encoding: "utf8" });
  return printed.split("\0").slice(0, -1);
}

it("a shell reads every word of a command as it was", () => {
  expect(wordsOf(commandOf(text))).toEqual([
    ...["run", "my model.gguf", "--prompt", 'It\'s $HOME & "more"\n#1 = 100 %'],
    ...["--dram-budget", "37%", "--max-tokens", "12", "--window", "4", "--policy", "lfu"],
    ...["--predictor", "it's.predictor.gguf", "--threshold", "-0.25", "--threads", "3", "--readers", "0", "--lossless"],
  ]);
});

it("a conversation is one of messages; what the model said is left to it", () => {
  expect(wordsOf(commandOf(chat))).toEqual([
    ...["chat", "chat.gguf", "--system", "Be brief.", "--message", "Who?", "--message", "And me?"],
    ...["--dram-budget", "50%", "--max-tokens", "96", "--temperature", "0.7"],
  ]);
});

it("a link says the settings, the model and the text, and reads back as they were", () => {
  const link = linkTo(PAGE, text);
  expect(link).toMatch(/^https:\/\/lab\.example\/\?hub=x#model=my\+model\.gguf&/);
  expect(readLink(new URL(link).hash)).toEqual(text);
});

it("a link to a conversation begins it anew, with its system prompt", () => {
  const [system, first] = chat.input.kind === "chat" ? chat.input.messages : [];
  expect(readLink(new URL(linkTo(PAGE, chat)).hash)).toEqual({
    ...chat,
    input: { kind: "chat", messages: [system, first] },
  });
});

it("an address without a model says nothing", () => {
  expect([readLink(""), readLink("#"), readLink("#more")]).toEqual([null, null, null]);
});

it.each([
  ["budgetPercent=0", /budgetPercent is 0, expected a number from 1 to 200/],
  ["maxTokens=many", /maxTokens is "many", expected a number from 1 to 1024/],
  ["policy=best", /policy is "best", expected one of window, lru, lfu, pinned, or null/],
  ["threads=99", /threads is 99, expected a number from 1 to 8, or null/],
])("refuses a link with %s, naming the setting", (field, message) => {
  expect(() => readLink(`#model=m.gguf&${field}`)).toThrow(message);
});
