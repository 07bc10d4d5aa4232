"""What SmolLM2 loses without the FFN neurons that add least, by numpy alone: the oracle row of docs/results/sparsity.md, independently.

    pip install numpy gguf
    python tools/goldens/pruning_oracle.py SmolLM2-135M-Instruct.Q4_1.gguf windows.json --keep 0.5

windows.json is [[token, ...], ...]: windows of 256 tokens, BOS first, as `evaluatePruning` cuts them. A neuron's contribution is |h_i| * ||down_i||,
and each token keeps the largest of each layer. Prints the mean KL from dense in nat, top-1 agreement, the rise of the negative log-likelihood, and the
dense perplexity, over all tokens but the first of each window. Minutes for a few windows.
"""

import argparse
import json

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize


def rms(x, weight, epsilon):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight


def rotate(x, base):
    """x [tokens, heads, width]; pairs are neighbours, as llama.cpp stores q and k of this architecture."""
    tokens, _, width = x.shape
    angle = np.arange(tokens)[:, None] * base ** (-np.arange(0, width, 2) / width)[None]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    out = np.empty_like(x)
    out[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
    out[..., 1::2] = x[..., 0::2] * sin + x[..., 1::2] * cos
    return out


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Model:
    def __init__(self, path):
        reader = GGUFReader(path)
        self.weights = {t.name: dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors}
        value = lambda key: reader.fields[f"llama.{key}"].contents()
        self.layers, self.heads = value("block_count"), value("attention.head_count")
        self.kv_heads, self.base = value("attention.head_count_kv"), value("rope.freq_base")
        self.epsilon = value("attention.layer_norm_rms_epsilon")

    def log_probabilities(self, tokens, keep):
        w = self.weights
        x = w["token_embd.weight"][tokens]
        n = len(tokens)
        mask = np.triu(np.full((n, n), -np.inf), 1)
        for layer in range(self.layers):
            at = lambda name: w[f"blk.{layer}.{name}.weight"]
            a = rms(x, at("attn_norm"), self.epsilon)
            q = rotate((a @ at("attn_q").T).reshape(n, self.heads, -1), self.base)
            k = rotate((a @ at("attn_k").T).reshape(n, self.kv_heads, -1), self.base)
            v = (a @ at("attn_v").T).reshape(n, self.kv_heads, -1)
            k, v = (np.repeat(m, self.heads // self.kv_heads, axis=1) for m in (k, v))
            scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(q.shape[-1]) + mask
            x = x + np.einsum("hqk,khd->qhd", softmax(scores), v).reshape(n, -1) @ at("attn_output").T
            f = rms(x, at("ffn_norm"), self.epsilon)
            gate = f @ at("ffn_gate").T
            h = gate / (1 + np.exp(-gate)) * (f @ at("ffn_up").T)
            if keep < 1:
                adds = np.abs(h) * np.linalg.norm(at("ffn_down"), axis=0)
                least = np.sort(adds, -1)[:, [-round(keep * h.shape[1])]]
                h = np.where(adds >= least, h, 0)
            x = x + h @ at("ffn_down").T
        logits = rms(x, w["output_norm.weight"], self.epsilon) @ w["token_embd.weight"].T
        top = logits.max(-1, keepdims=True)
        return logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("windows")
    parser.add_argument("--keep", type=float, default=0.5)
    args = parser.parse_args()
    model = Model(args.model)
    kl, same, rise, nll = [], [], [], []
    for tokens in json.load(open(args.windows)):
        dense, pruned = (model.log_probabilities(tokens, keep)[:-1] for keep in (1, args.keep))
        target = (np.arange(len(tokens) - 1), tokens[1:])
        kl.extend((np.exp(dense) * (dense - pruned)).sum(-1))
        same.extend(dense.argmax(-1) == pruned.argmax(-1))
        nll.extend(-dense[target])
        rise.extend(dense[target] - pruned[target])
    print(f"keep {args.keep}: KL {np.mean(kl):.4f}, top-1 {np.mean(same):.4f}, NLL {np.mean(rise):+.4f}, dense perplexity {np.exp(np.mean(nll)):.2f}")


main()
