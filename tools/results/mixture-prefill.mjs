/**
 * What a cache of experts costs a prompt, which uses each expert once for all its tokens and finds an empty cache: the prompt within half of the file, and
 * with slots for hardly more than one token's experts, in turns, cold, each in a process of its own.
 *
 *     pnpm build && node tools/results/mixture-prefill.mjs olmoe-1b-7b-q4.gguf [--shares 50,22] [--tokens 128] [--rounds 5]
 */
import { profileApart, runApart } from "./src/gguf-run.mjs";
import { inTurns, median, ratios } from "./src/in-turns.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const USAGE = "mixture-prefill.mjs <model.gguf> [--shares <per cent of the file, large>,<small>]";
const { words, flags } = scriptArguments({
  usage: USAGE,
  words: 1,
  flags: { shares: "50,22", tokens: "128", rounds: "5" },
});
const [path] = words;
const shares = flags.shares.split(",");
if (shares.length !== 2) {
  console.error(`usage: ${USAGE}`);
  process.exit(2);
}

const profile = await profileApart(path);
const length = { promptTokens: Number(flags.tokens), warmUpTokens: 0, decodeTokens: 1 };
const runs = shares.map((share) => () => runApart(path, share, length, profile));
const [large, small] = await inTurns(runs, Number(flags.rounds));
const times = (of) => of.map(({ prefillMs }) => prefillMs);
for (const [i, of] of [large, small].entries()) {
  const { slotsByLayer } = of[0];
  console.log(`${shares[i]} %: ${Math.max(...slotsByLayer)} slots a layer, ${median(times(of)).toFixed(0)} ms`);
}
const { median: ratio, least, most } = ratios(times(large), times(small));
console.log(`large over small: ${ratio.toFixed(3)} (${least.toFixed(3)} to ${most.toFixed(3)})`);
