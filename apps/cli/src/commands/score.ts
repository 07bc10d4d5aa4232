/** `flashwick score`: what the model says of a given sequence. */
import { type Model, type ScoredPosition, scoreTokens } from "@flashwick/runtime";
import type { Command } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import { addEngineFlags, type EngineFlags, openWithFlags, requireOne } from "../engine-flags.js";
import type { Invocation } from "../invocation.js";
import { integer, tokenIds } from "../option-values.js";
import type { CommonFlags } from "../report.js";
import { table } from "../table.js";

interface ScoreFlags extends CommonFlags, EngineFlags {
  readonly tokens?: readonly number[];
  readonly text?: string;
  readonly top: number;
  readonly probe?: readonly number[];
}

/** Columns of the table for a person. */
const SHOWN_TOP = 3;

export function scoreCommand(invocation: Invocation): Command {
  const command = frameCommand({
    name: "score",
    summary:
      "Show the logits after each token of a sequence; with a predictor or --oracle, each as decoding gives them.",
    example: 'flashwick score opt-demo.gguf --text "In the beginning" --top 5',
  })
    .argument("<model.gguf>", "model file")
    .option("--tokens <ids>", "token ids, as they are: 2,17,4 (no default: this or --text is needed)", tokenIds)
    .option("--text <text>", "text; special tokens are put around it as for a prompt (default: none)")
    .option("--top <n>", "how many of the largest logits to show", integer(0), 8)
    .option("--probe <ids>", "token ids whose logits to show in any case (default: none)", tokenIds);
  return addEngineFlags(command, "dense").action(async (path: string, flags: ScoreFlags) => {
    requireOne(flags, ["tokens", "text"]);
    invocation.exitStatus = await score(invocation, path, flags);
  });
}

function score({ terminal }: Invocation, path: string, flags: ScoreFlags): Promise<number> {
  return withReport(terminal, flags, async (report) => {
    const model = await openWithFlags(path, flags, "dense", report);
    try {
      const tokens = flags.tokens ?? model.tokenizer.encode(flags.text!, true);
      const { signal } = terminal;
      const options = { top: flags.top, probe: flags.probe ?? [], signal, onProgress: report.onProgress };
      const positions = await scoreTokens(model, tokens, options);
      const { activationBits = null } = model.parts;
      report.result({ tokens, positions, activationBits }, () => scoreTable(model, tokens, positions));
    } finally {
      await model.close();
    }
    return undefined;
  });
}

function scoreTable(model: Model, tokens: readonly number[], positions: readonly ScoredPosition[]): string {
  const piece = (token: number) =>
    model.header.tokenizerKind === null ? `${token}` : `${token} ${JSON.stringify(model.tokenizer.decode([token]))}`;
  return table([
    ["position", "token", "logprob", "likeliest next"],
    ...positions.map(({ logprob, top, logSumExp }, i) => [
      i,
      piece(tokens[i]!),
      logprob === null ? "" : logprob.toFixed(4),
      top
        .slice(0, SHOWN_TOP)
        .map(([token, logit]) => `${piece(token)} ${(logit - logSumExp).toFixed(3)}`)
        .join(", "),
    ]),
  ]);
}
