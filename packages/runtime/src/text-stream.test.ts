import { describe, expect, it } from "vitest";
import { TextStream } from "./text-stream.js";
import type { TextTokenizer } from "./text-tokenizer.js";

/** One token a byte: the hardest case for characters of several bytes. */
const bytes: TextTokenizer = {
  encode: (text) => [...new TextEncoder().encode(text)],
  decode: (tokens) => new TextDecoder().decode(Uint8Array.from(tokens)),
};

function stream(text: string, stops: string[] = []) {
  const pieces: string[] = [];
  const out = new TextStream(bytes, stops);
  for (const token of bytes.encode(text, false)) {
    if (out.stopped) break;
    pieces.push(out.push(token));
  }
  pieces.push(out.end());
  return { pieces, text: pieces.join(""), stopped: out.stopped };
}

describe("TextStream", () => {
  it("hands out characters of several tokens whole", () => {
    const { pieces, text } = stream("aé你🙂z");
    expect(text).toBe("aé你🙂z");
    expect(pieces.filter((piece) => piece.includes("\ufffd"))).toEqual([]);
  });
  it("hands out bytes that never become a character", () => {
    const out = new TextStream(bytes);
    const text = [0xff, 0xff, 0xff, 0xff, 0x61].map((token) => out.push(token)).join("") + out.end();
    expect(text).toBe("\ufffd\ufffd\ufffd\ufffda");
  });
  it("a character after a written U+FFFD was torn", () => {
    expect(stream("\ufffd\u00a0 \ufffd🙂\ufffd\ufffd你").text).toBe("\ufffd\u00a0 \ufffd🙂\ufffd\ufffd你");
  });
  it("ends before a stop text, also one that spans pieces", () => {
    expect(stream("one two END three", ["END"])).toMatchObject({ text: "one two ", stopped: true });
  });
  it("gives back what only began like a stop text", () => {
    expect(stream("an ENd, an EN", ["END"])).toMatchObject({ text: "an ENd, an EN", stopped: false });
  });
  it("takes the earliest of several stop texts", () => {
    expect(stream("a.b\nc", ["\n", "."]).text).toBe("a");
  });
});
