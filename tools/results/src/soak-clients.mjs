/**
 * Clients that ask a server at random, and leave at random. Everything that a client reads is held against what the engine gives to the same request
 * alone: a whole answer must be equal, one that was left must be its beginning.
 */

/** @typedef {{ prompt: string, maxTokens: number, temperature: number, seed: number, stop: readonly string[] }} Asked */
/** @typedef {{ text: string, tokens: number }} Expected */

/** A generator of random numbers in [0, 1) from a seed (mulberry32). */
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Distinct requests, made of a text's own words. @param {string} text @returns {Asked[]} */
export function makeRequests(text, count, random) {
  const words = text.split(/\s+/);
  return Array.from({ length: count }, (_, index) => {
    const at = Math.floor(random() * (words.length - 100));
    // Half of them begin alike, so that prefixes are shared.
    const beginning = index % 2 === 0 ? words.slice(0, 12) : [];
    const own = words.slice(at, at + 1 + Math.floor(random() * 24));
    return {
      prompt: [...beginning, ...own].join(" "),
      maxTokens: 1 + Math.floor(random() * 32),
      temperature: index % 3 === 0 ? 0 : 1,
      seed: Math.floor(random() * 2 ** 31),
      stop: index % 5 === 0 ? [words[at + 40]] : [],
    };
  });
}

/**
 * One client, until it is told to stop.
 *
 * @param {{ url: string, model: string, asked: readonly Asked[], expected: readonly Expected[], random: () => number, isOver: () => boolean }} parts
 * @param {(outcome: { kind: "whole" | "left" | "refused" | "wrong", firstMs?: number, ms?: number, what?: string }) => void} tell
 */
export async function runClient({ url, model, asked, expected, random, isOver }, tell) {
  while (!isOver()) {
    const index = Math.floor(random() * asked.length);
    const streams = random() < 0.7;
    // Events that are read before the client leaves; most stay to the end.
    const patience = streams && random() < 0.3 ? Math.floor(random() * 12) : Number.POSITIVE_INFINITY;
    try {
      tell(await ask(url, model, asked[index], expected[index], streams, patience));
    } catch (error) {
      tell({ kind: "wrong", what: String(error) });
    }
  }
}

async function ask(url, model, { prompt, maxTokens, temperature, seed, stop }, expected, streams, patience) {
  const startMs = performance.now();
  const leaving = new AbortController();
  const body = {
    model,
    prompt,
    max_tokens: maxTokens,
    temperature,
    seed,
    ...(stop.length > 0 && { stop }),
    stream: streams,
  };
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal: leaving.signal,
  });
  if (response.status === 429) {
    await response.text();
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(response.headers.get("retry-after"))));
    return { kind: "refused" };
  }
  if (response.status !== 200) return { kind: "wrong", what: `status ${response.status}: ${await response.text()}` };
  if (!streams) {
    const { choices, usage } = await response.json();
    const ms = performance.now() - startMs;
    const isSame = choices[0].text === expected.text && usage.completion_tokens === expected.tokens;
    return isSame ? { kind: "whole", ms } : { kind: "wrong", what: difference(choices[0].text, expected.text) };
  }
  const read = await readStream(response, patience, startMs);
  if (!read.isWhole) leaving.abort();
  const ms = performance.now() - startMs;
  const isSame = read.isWhole ? read.text === expected.text : expected.text.startsWith(read.text);
  if (!isSame) return { kind: "wrong", what: difference(read.text, expected.text) };
  return { kind: read.isWhole ? "whole" : "left", ms, firstMs: read.firstMs };
}

async function readStream(response, patience, startMs) {
  const decoder = new TextDecoder();
  let [text, rest, firstMs, events] = ["", "", undefined, 0];
  for await (const chunk of response.body) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      if (part.startsWith(":")) continue;
      const data = part.slice("data: ".length);
      if (data === "[DONE]") return { text, firstMs, isWhole: true };
      const { choices, error } = JSON.parse(data);
      if (error) throw new Error(error.message);
      firstMs ??= performance.now() - startMs;
      text += choices[0].text;
      if (++events > patience) return { text, firstMs, isWhole: false };
    }
  }
  throw new Error("the stream ended without its last event");
}

function difference(found, expected) {
  return `found ${JSON.stringify(found)}, expected ${JSON.stringify(expected)}`;
}
