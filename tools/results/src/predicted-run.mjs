/**
 * One run of a model, cold, with what the cost model expected of it: under the predictor's own statistics, and under those of a recording of
 * the very text (another run's), which takes the text's mood out of the comparison.
 */
import { readFileSync, statSync } from "node:fs";
import { cpus } from "node:os";
import { measureSparsity, summarizeRun } from "@flashwick/runtime";
import { measureProfile, openModel } from "@flashwick/runtime/node";

/** Tokens of a text as a run takes them in, BOS first. */
function textTokens(model, path, first, count) {
  const tokens = model.tokenizer.encode(readFileSync(path, "utf8"), false);
  const bos = model.header.geometry.bosTokenId;
  return [...(bos === null ? [] : [bos]), ...tokens.slice(first)].slice(0, count);
}

/**
 * What the predictor names of the text that will be decoded: recorded once for each model, for all its runs.
 *
 * @param first Of the text's tokens, the first that is taken.
 * @returns { tokens, statistics, sets }: the tokens, the means, and the sets themselves by [token][layer]
 */
export async function recordText(file, textPath, first, count) {
  const model = await openModel(file, { mode: "predicted" });
  try {
    const tokens = textTokens(model, textPath, first, count);
    const byLayer = Array.from({ length: model.header.geometry.layers.length }, () => []);
    const onNamed = (layer, named) => byLayer[layer].push(named);
    const statistics = await measureSparsity(model, [tokens], { source: "a recording of the text", onNamed });
    return { tokens, statistics, sets: tokens.map((_, t) => byLayer.map((sets) => sets[t])) };
  } finally {
    await model.close();
  }
}

/** Processor time of all processes, and of this one, in milliseconds. */
export function busyMs() {
  const all = cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
  const { user, system } = process.cpuUsage();
  return { all, own: (user + system) / 1000 };
}

/** Share of the machine that others had between two looks. */
export function othersShare(before, after, ms) {
  return Math.max(0, (after.all - before.all - (after.own - before.own)) / (ms * cpus().length));
}

/**
 * @param setting { file, budgetPercent, options } of openModel
 * @param length  { promptTokens, warmUpTokens, decodeTokens }
 * @param recorded { statistics, sets } of the text: means, and the sets themselves by [token][layer]
 */
export async function predictedRun(setting, tokens, length, { statistics, sets }, profile) {
  const { file, budgetPercent, options = {} } = setting;
  const dramBudgetBytes = Math.floor((statSync(file).size * budgetPercent) / 100);
  const model = await openModel(file, { dramBudgetBytes, profile, mode: "predicted", ...options });
  try {
    const { promptTokens, warmUpTokens, decodeTokens } = length;
    return await model.withSequence(promptTokens + warmUpTokens + decodeTokens, async (sequence) => {
      await sequence.prefill(tokens.slice(0, promptTokens));
      const decoded = [];
      let before = null;
      let begin = 0;
      for (let i = 0; i < warmUpTokens + decodeTokens; i++) {
        if (i === warmUpTokens) [before, begin] = [busyMs(), performance.now()];
        const { stats } = await sequence.decode(tokens[promptTokens + i]);
        if (i >= warmUpTokens) decoded.push(stats);
      }
      const others = othersShare(before, busyMs(), performance.now() - begin);
      const { plan } = sequence.engine.parts;
      const { geometry, weights } = model.header;
      const measured = summarizeRun({
        geometry,
        weights,
        backend: model.parts.backend,
        ioMode: model.parts.reader.mode,
        mode: model.mode,
        kvDType: plan.kvPrecision,
        policy: options.policy ?? "window",
        ...model.threading,
        dramBytes: plan.dram,
        prefill: [],
        decode: decoded,
      });
      const overlap = model.options.overlap ?? model.parts.overlap;
      const predict = (device, sparsity) => {
        model.parts.profile = device;
        return model.predict(plan, length, { sparsity });
      };
      return {
        measured,
        others,
        overlap,
        predict: (device) => ({
          own: predict(device),
          text: predict(device, statistics),
          replayed: model.replay(plan, { sets, promptTokens }, warmUpTokens),
        }),
      };
    });
  } finally {
    await model.close();
  }
}

/** A profile of the device under a model file, as it is at this minute. */
export async function quickProfile(file) {
  return await measureProfile({ path: file, quick: true });
}
