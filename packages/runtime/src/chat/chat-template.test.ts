import { type FlashwickError, isFlashwickError } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { createGgufTokenizer } from "../tokenizer/gguf-tokenizer.js";
import { metadataOf, models, SMOLLM2, smolPath, tinyMetadata } from "../tokenizer/tokenizer.fixture.js";
import { type ChatMessage, ChatTemplate, readChatTemplate } from "./chat-template.js";

const options = { fileName: "model.gguf", bosToken: "<s>", eosToken: "</s>", now: () => new Date(2024, 6, 4, 15, 8) };
const HELLO: readonly ChatMessage[] = [{ role: "user", content: "Hello" }];
const render = (source: string, messages = HELLO) => new ChatTemplate(source, options).render(messages);

function failure(work: () => unknown): FlashwickError {
  try {
    work();
  } catch (error) {
    if (isFlashwickError(error)) return error;
    throw error;
  }
  throw new Error("expected it to fail");
}

describe("SmolLM2's template", () => {
  it.each(SMOLLM2.chat.cases)("renders what transformers renders: $messages.0.content", (one) => {
    const { messages, addGenerationPrompt, rendered } = one;
    expect(new ChatTemplate(SMOLLM2.chat.template, options).render(messages, { addGenerationPrompt })).toBe(rendered);
  });
});

describe.skipIf(models.isMissing)(models.title("SmolLM2's file"), () => {
  it("carries that template, and its tokens are those of llama.cpp", async () => {
    const metadata = await metadataOf(smolPath);
    const template = readChatTemplate(metadata, SMOLLM2.file);
    const tokenizer = createGgufTokenizer(metadata, SMOLLM2.file);
    expect(template.source).toBe(SMOLLM2.chat.template);
    for (const { messages, addGenerationPrompt, rendered, ids } of SMOLLM2.chat.cases) {
      expect(template.render(messages, { addGenerationPrompt })).toBe(rendered);
      expect(tokenizer.encode(rendered, { parseSpecial: true })).toEqual(ids);
    }
  });
});

describe("what a template finds", () => {
  it.each([
    ["special tokens", "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", "<s>Hello</s>"],
    ["the date", "{{ strftime_now('%d %b %Y') }}", "04 Jul 2024"],
    ["no tools", "{% if not tools and tools is none %}none{% endif %}", "none"],
    ["no generation prompt, unless it is asked for", "{% if add_generation_prompt %}>{% else %}.{% endif %}", "."],
    ["range", "{% for i in range(3) %}{{ i }}{% endfor %}{{ range(5, 1, -2) | tojson }}", "012[5, 3]"],
    [
      "blocks that leave no lines",
      "{% for m in messages %}\n  {% if true %}\n{{ m.role }}\n  {% endif %}\n{% endfor %}\n",
      "user\n",
    ],
    [
      "namespaces",
      "{% set ns = namespace(n=1) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
      "2",
    ],
    ["break", "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"],
    [
      "texts that are replaced, joined and indented",
      "{{ 'a-b' | replace('-', ', ') }} {{ 'ab'.replace('b', 'c') }} {{ ['a', 'b'] | join('+') }} {{ 'a\\nb' | indent(2) }}",
      "a, b ac a+b a\n  b",
    ],
    ["macros", "{% macro m(a, b='!') %}{{ a }}{{ b }}{% endmacro %}{{ m('hi') }}{{ m('ho', b='?') }}", "hi!ho?"],
  ])("%s", (_, source, text) => {
    expect(render(source)).toBe(text);
  });
  it("tools, and the calls that were made of them", () => {
    const source =
      "{% for t in tools %}{{ t.function.name }}{% endfor %}{% for m in messages %}|{{ m.content }}" +
      "{% for c in m.tool_calls or [] %}{{ c.function.name }} {{ c.function.arguments | tojson }}{% endfor %}{% endfor %}";
    const call = { function: { name: "add", arguments: { a: 1 } } };
    const messages = [...HELLO, { role: "assistant", content: "", extra: { tool_calls: [call] } }];
    const tools = [{ type: "function", function: { name: "add" } }];
    expect(new ChatTemplate(source, options).render(messages, { tools })).toBe('add|Hello|add {"a": 1}');
  });
  it("the role and the content of a message, whatever else it brings", () => {
    const messages = [{ role: "user", content: "Hello", extra: { role: "system", content: "no" } }];
    expect(render("{{ messages[0].role }} {{ messages[0].content }}", messages)).toBe("user Hello");
  });
  it("the file's own special tokens", async () => {
    const metadata = new Map(await tinyMetadata("mixtral"));
    expect(failure(() => readChatTemplate(metadata, "mixtral")).code).toBe("INPUT_NO_CHAT_TEMPLATE");
    metadata.set("tokenizer.chat_template", { type: "string", value: "{{ bos_token }}|{{ eos_token }}" });
    expect(readChatTemplate(metadata, "mixtral").render([])).toBe("<s>|</s>");
  });
});

describe("errors", () => {
  it("a template's own words are in the error, and the conversation is at fault", () => {
    const { code, message } = failure(() => render("{{ raise_exception('Roles must alternate!') }}"));
    expect(code).toBe("INPUT_CONVERSATION");
    expect(message).toMatch(/^model\.gguf: .*Roles must alternate!/);
  });
  it.each([
    ["a block that does not end", "{% for m in messages %}"],
    ["no expression", "{{ }}"],
    ["a filter that is not there", "{{ messages | nothing }}"],
    ["a call of nothing", "{{ nothing() }}"],
    ["a sum of nothing", "{{ nothing.more + 1 }}"],
  ])("%s", (_, source) => {
    const { code, message } = failure(() => render(source));
    expect(code).toBe("FORMAT_INVALID");
    expect(message).toMatch(/^model\.gguf: chat template: /);
  });
});

describe("a hostile template is stopped", () => {
  const grown = (times: number, text = "'abcdefgh'") =>
    `{% set ns = namespace(x=${text}) %}{% for i in range(${times}) %}{% set ns.x = ns.x + ns.x %}{% endfor %}`;
  const nested = "{% set ns = namespace(x=['a']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}";
  it.each([
    ["loops without end", "{% for a in range(60000) %}{% for b in range(60000) %}{{ b }}{% endfor %}{% endfor %}"],
    ["empty loops", "{% set r = range(60000) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}"],
    [
      "loops over what is filtered",
      "{% set r = range(60000) %}{% for a in r %}{% for b in r if b < 0 %}{% endfor %}{% endfor %}",
    ],
    ["a range of a billion", "{{ range(1000000000) | length }}"],
    ["a range in no steps", "{{ range(1, 2, 0) | length }}"],
    ["a macro that calls itself", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"],
    [
      "a macro that calls itself twice",
      "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
    ],
    [
      "macros made in a loop",
      `{% for i in range(60000) %}{% macro m() %}${"{{ i }}".repeat(10_000)}{% endmacro %}{% endfor %}`,
    ],
    ["text without end", "{% for a in range(60000) %}{% for b in range(60000) %}abcdefgh{% endfor %}{% endfor %}"],
    ["a text that doubles", grown(60)],
    ["an array that doubles", grown(60, "[1]")],
    ["arrays within arrays, written out", `${nested}{{ ns.x | tojson }}`],
    ["arrays within arrays, as text", `${nested}{{ 'a' + ns.x }}`],
    ["a namespace that holds itself", "{% set ns = namespace(x=1) %}{% set ns.x = ns %}{{ ns }}"],
    [
      "long texts, compared",
      `${grown(17)}{% for i in range(60000) %}{% if ns.x | upper == 'a' %}{% endif %}{% endfor %}`,
    ],
    [
      "long texts, sorted",
      `${grown(10)}{% set y = namespace(a=[ns.x]) %}{% for i in range(8) %}{% set y.a = y.a + y.a %}{% endfor %}{% for i in range(60000) %}{{ y.a | sort | length }}{% endfor %}`,
    ],
    [
      "names that are not there",
      "{% for a in range(60000) %}{% for b in range(9) %}{{ none_such }}{% endfor %}{% endfor %}",
    ],
    ["a text replaced by itself", `${grown(16)}{{ ns.x | replace('a', ns.x) }}`],
    ["a text joined by itself", `${grown(16)}{{ ns.x | join(ns.x) }}`],
    ["a text replaced by itself, as a method", `${grown(16)}{{ ns.x.replace('a', ns.x) }}`],
    ["a block replaced by a long text", `${grown(16)}{% filter replace('a', ns.x) %}{{ ns.x }}{% endfilter %}`],
    ["JSON indented without end", "{{ messages | tojson(indent=400000000) }}"],
    ["an indent without end", "{{ 'a\\nb' | indent(400000000) }}"],
    ["brackets without end", `{{ ${"(".repeat(50_000)}1${")".repeat(50_000)} }}`],
    ["a sum without end", `{{ 1${" + 1".repeat(30_000)} }}`],
    ["a template of a megabyte", "a".repeat(2 ** 20)],
    ["white space without end", `a${" ".repeat(100_000)}b`],
  ])("%s", (_, source) => {
    expect(failure(() => render(source)).code).toBe("FORMAT_LIMIT");
  });
  it("a conversation that nests too deep ran out of stack before the template did", () => {
    const deep: unknown = JSON.parse("[".repeat(100_000) + "]".repeat(100_000));
    const messages = [{ role: "assistant", content: "", extra: { tool_calls: [{ arguments: deep }] } }];
    expect(failure(() => render("{{ messages[0].role }}", messages)).code).toBe("FORMAT_LIMIT");
  });
  const messages = Array.from({ length: 1000 }, (_, i) => ({
    role: i % 2 ? "assistant" : "user",
    content: "word ".repeat(200),
  }));
  it("a text that a long conversation is put together to is not", () => {
    const source =
      "{% set ns = namespace(x='') %}{% for m in messages %}{% set ns.x = ns.x + m.content %}{% endfor %}{{ ns.x }}";
    expect(render(source, messages)).toBe("word ".repeat(200_000));
  });
  it("a long conversation is not", () => {
    // As templates of published models look at a conversation: neighbours, ends, roles.
    const source = `{% for m in messages %}{% if loop.index0 == messages | length - 1 or (messages[loop.index0 - 1].role == m['role']) %}{{ bos_token }}
{% endif %}{% set content = m.content.split('</think>')[-1].strip() %}{{ '<|' + m.role + '|>\\n' + content | trim + eos_token }}{% endfor %}`;
    const text = render(source, messages);
    expect(text.length).toBeGreaterThan(1_000_000);
  });
});
