import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ToolCallReader, writesToolCalls } from "./tool-calls.js";

function read(pieces: readonly string[]) {
  const reader = new ToolCallReader();
  const before = pieces.map((piece) => reader.push(piece)).join("");
  const { text, calls } = reader.end();
  return { text: before + text, calls };
}

const CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>';

describe("calls of tools", () => {
  it("are taken out of the text, with their arguments as JSON", () => {
    expect(read([`Well: ${CALL}\n${CALL}`])).toEqual({
      text: "Well: ",
      calls: [
        { name: "add", arguments: '{"a":1}' },
        { name: "add", arguments: '{"a":1}' },
      ],
    });
  });
  it("may lack arguments, and the closing tag that a stop text ate", () => {
    expect(read(['<tool_call>{"name":"now"}'])).toEqual({ text: "", calls: [{ name: "now", arguments: "{}" }] });
  });
  it.each([
    "<tool_call>",
    "<tool_call>add(1)</tool_call>",
    '<tool_call>{"arguments":{}}</tool_call>',
    "<tool_call>7</tool_call>",
  ])("that cannot be read are text: %s", (text) => expect(read(["a", text])).toEqual({ text: `a${text}`, calls: [] }));
  it("come out the same however the text is cut, and nothing is lost that is no call", () => {
    const words = fc.constantFrom("<", "<tool", "_call>", "a", " ", CALL, "</tool_call>");
    fc.assert(
      fc.property(fc.array(words, { maxLength: 8 }), fc.array(fc.nat(12)), (parts, cuts) => {
        const text = parts.join("");
        expect(read(cut(text, cuts))).toEqual(read([text]));
        if (!text.includes("<tool_call>")) expect(read(cut(text, cuts))).toEqual({ text, calls: [] });
      }),
    );
  });
});

function cut(text: string, lengths: readonly number[]): string[] {
  let at = 0;
  const pieces = lengths.map((length) => text.slice(at, (at += length)));
  return [...pieces, text.slice(at)];
}

it("a template says whether its model writes them", () => {
  expect([writesToolCalls("{{ '<tool_call>' }}"), writesToolCalls("{{ tools }}")]).toEqual([true, false]);
});
