/**
 * How long a model takes to be ready, and to say its first token, beside reading the same bytes and doing nothing else:
 *
 *     pnpm build && node tools/results/start.mjs model.gguf [budget share, default 0.5] [prompt tokens, default 128]
 *
 * Prints one JSON document. The plain reads go by the same reader, in order, a MiB each, into memory that nothing has touched before.
 */
import { statSync } from "node:fs";
import { scriptArguments } from "./src/script-arguments.mjs";

const root = new URL("../../packages/", import.meta.url);
const { openModel } = await import(new URL("runtime/dist/node.js", root));
const { openFlashReader } = await import(new URL("flash-io/dist/node.js", root));

const MiB = 2 ** 20;
const { words } = scriptArguments({ usage: "start.mjs <model.gguf> [budget share] [prompt tokens]", words: 1 });
const [path, share = "0.5", promptTokens = "128"] = words;

/** Milliseconds that `sizeBytes` from the start of the file take, a GiB at a time since a memory is no larger than four. */
async function plainReadMs(sizeBytes) {
  const reader = await openFlashReader(path);
  await reader.grow(reader.readers);
  let ms = 0;
  for (let from = 0; from < sizeBytes; from += 1024 * MiB) {
    const count = Math.floor(Math.min(1024 * MiB, sizeBytes - from) / MiB);
    const memory = new Uint8Array(new WebAssembly.Memory({ initial: 16384, maximum: 16384, shared: true }).buffer);
    const runs = Array.from({ length: count }, (_, i) => ({
      offset: from + i * MiB,
      sizeBytes: MiB,
      pieces: [{ ptr: i * MiB, sizeBytes: MiB }],
      picks: 0,
    }));
    const start = performance.now();
    reader.start(memory, runs);
    await reader.wait();
    ms += performance.now() - start;
    reader.release(memory);
  }
  await reader.close();
  return ms;
}

const openedAt = performance.now();
let progressMs = null;
const onProgress = () => (progressMs ??= performance.now() - openedAt);
const model = await openModel(path, { dramBudgetBytes: Math.floor(statSync(path).size * Number(share)), onProgress });
const tokens = Array.from({ length: Number(promptTokens) }, (_, i) => 3 + ((i * 7919) % 4000));
const measured = await model.withSequence(
  tokens.length + 1,
  async (sequence) => {
    const readyMs = performance.now() - openedAt;
    const { batches } = await sequence.prefill(tokens);
    const sum = (pick) => batches.reduce((total, batch) => total + pick(batch), 0);
    return {
      readyMs,
      residentBytes: sequence.engine.parts.plan.dram.resident,
      prefillMs: sum((batch) => batch.ms),
      streamedBytes: sum((batch) => batch.flashBytes),
      waitedMs: sum((batch) => batch.phaseMs.readWait),
    };
  },
  { onProgress },
);
await model.close();
const residentReadMs = await plainReadMs(measured.residentBytes);
const streamReadMs = await plainReadMs(Math.min(measured.streamedBytes, statSync(path).size));
console.log(
  JSON.stringify({
    model: path,
    ...measured,
    firstProgressMs: progressMs,
    residentReadMs,
    readyShare: measured.readyMs / residentReadMs,
    streamReadMs,
    prefillShare: measured.prefillMs / streamReadMs,
  }),
);
