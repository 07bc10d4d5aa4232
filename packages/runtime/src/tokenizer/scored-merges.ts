/**
 * SentencePiece's BPE by the scores of tokens: of all neighbours whose union is a token, those of the best score are merged
 * first, and of equals the leftmost (llama.cpp, llm_tokenizer_spm). The library's BPE ranks pairs instead: in its terms, tokens of
 * one score would be merged in the order of a list, a character without a token could not be merged, and every way to split every
 * token would have to be listed.
 */
import { BPE } from "@huggingface/tokenizers";

/** A pair in the library's queue. */
interface Node {
  readonly token: string;
  readonly next: Node | null;
  /** Position in the text, as a fraction of 1: breaks ties. */
  readonly bias: number;
  score?: number;
}

interface NodeQueue {
  push(node: Node): void;
}

export class ScoredMerges extends BPE {
  readonly #ranks: ReadonlyMap<string, number>;
  /** UTF-16 units of the longest token that merges may make. */
  #longest = 0;

  /**
   * @param ids    Every token that may stand for text, byte tokens included.
   * @param scores Of the tokens that merges may make.
   * @param unknown Stands for characters without a token and without byte tokens.
   */
  constructor(
    ids: ReadonlyMap<string, number>,
    scores: ReadonlyMap<string, number>,
    unknown: { readonly token: string; readonly id: number } | null,
  ) {
    super({ type: "BPE", vocab: {}, merges: [], byte_fallback: true } as unknown as ConstructorParameters<
      typeof BPE
    >[0]);
    this.tokens_to_ids = new Map(ids);
    this.#ranks = ranksOf(scores);
    for (const { length } of scores.keys()) this.#longest = Math.max(this.#longest, length);
    this.unk_token = unknown?.token;
    this.unk_token_id = unknown?.id;
    // A private method of the library's; version 0.2.0 calls it for each pair that may be merged.
    Object.defineProperty(this, "add_node", { value: (queue: NodeQueue, node: Node) => this.#rankPair(queue, node) });
  }

  #rankPair(queue: NodeQueue, node: Node): void {
    const { token, next } = node;
    if (!next || token.length + next.token.length > this.#longest) return;
    const rank = this.#ranks.get(token + next.token);
    if (rank === undefined) return;
    node.score = rank + node.bias;
    queue.push(node);
  }
}

/** Equal scores have equal ranks; the best is 0. */
function ranksOf(scores: ReadonlyMap<string, number>): Map<string, number> {
  const falling = [...new Set(scores.values())].sort((a, b) => b - a);
  const rankOf = new Map(falling.map((score, rank) => [score, rank]));
  return new Map(Array.from(scores, ([token, score]) => [token, rankOf.get(score)!]));
}
