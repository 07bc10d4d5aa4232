"""Trains the low-rank predictors of a demo checkpoint with PyTorch, as `flashwick train` does and several times as fast, for `flashwick predictor import`:
python train_predictor.py CKPT TRAIN.txt OUT.safetensors TOKENS EPOCHS RANK

Writes OUT.safetensors (f32 weights after the last epoch) and OUT.q4_0.safetensors (after one more, in which both passes use weights rounded to Q4_0 and
gradients go straight through to the weights behind them). Names are those of `predictor export`.
"""
import math
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

BATCH_TOKENS, PEAK, ROUNDED_PEAK, FLOOR, WARMUP = 128, 3e-3, 6e-4, 1e-5, 50
WINDOW_TOKENS, WINDOWS_AT_ONCE = 256, 8


def windows_of(tokenizer, bos, path, tokens):
    """Windows of a BOS and 255 tokens, spread over the text."""
    with open(path, encoding="utf8") as file:
        ids = tokenizer.encode(file.read(), add_special_tokens=False).ids
    cut = [[bos] + ids[i : i + WINDOW_TOKENS - 1] for i in range(0, len(ids) - WINDOW_TOKENS + 2, WINDOW_TOKENS - 1)]
    wanted = tokens // WINDOW_TOKENS
    return cut[:: max(1, len(cut) // wanted)][:wanted]


def record(model, windows):
    """By layer the FFN's inputs, f16, and which neurons fire, bool."""
    is_opt = model.config.model_type == "opt"
    layers = model.model.decoder.layers if is_opt else model.transformer.h
    inputs, active, handles = [[] for _ in layers], [[] for _ in layers], []
    for i, layer in enumerate(layers):
        up, act = (layer.fc1, layer.activation_fn) if is_opt else (layer.mlp.dense_h_to_4h, layer.mlp.act)
        keep_input = lambda _m, args, _o, i=i: inputs[i].append(args[0].reshape(-1, args[0].shape[-1]).half())
        keep_active = lambda _m, _a, out, i=i: active[i].append(out.reshape(-1, out.shape[-1]) > 0)
        handles += [up.register_forward_hook(keep_input), act.register_forward_hook(keep_active)]
    with torch.no_grad():
        for i in range(0, len(windows), WINDOWS_AT_ONCE):
            (model.model if is_opt else model.transformer)(torch.tensor(windows[i : i + WINDOWS_AT_ONCE]), use_cache=False)
    for handle in handles:
        handle.remove()
    return [torch.cat(x) for x in inputs], [torch.cat(a) for a in active]


def q4_0(weights):
    """Rounded to ggml's blocks of 32, with the scale that flashwick chooses."""
    blocks = weights.reshape(-1, 32)
    largest = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))
    best, least = None, None
    for to in (-9, -8.5, -8, -7.5, -7):
        scale = largest / to
        q = (blocks / torch.where(scale == 0, torch.ones_like(scale), scale)).round().clamp(-8, 7)
        fitted = ((blocks * q).sum(1, keepdim=True) / (q * q).sum(1, keepdim=True).clamp(min=1e-12)).half().float()
        error = ((blocks - fitted * q) ** 2).sum(1, keepdim=True)
        best = fitted * q if best is None else torch.where(error < least, fitted * q, best)
        least = error if least is None else torch.minimum(error, least)
    return best.reshape(weights.shape)


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(_ctx, weights):
        return q4_0(weights)

    @staticmethod
    def backward(_ctx, gradient):
        return gradient


def train(weights, inputs, active, epochs, peak, rounded, seed):
    """AdamW on the weighted cross-entropy of packages/predictor/src/train/layer-trainer.ts."""
    w1, w2 = (w.clone().requires_grad_() for w in weights)
    optimiser = torch.optim.AdamW([w1, w2], lr=peak, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.01)
    negative = max(active[:20000].float().mean().item() + 0.005, 0.05)
    generator = torch.Generator().manual_seed(seed)
    count = inputs.shape[0]
    steps, step = epochs * (count // BATCH_TOKENS), 0
    for _ in range(epochs):
        order = torch.randperm(count, generator=generator)
        for at in range(0, count - BATCH_TOKENS + 1, BATCH_TOKENS):
            progress = min(1, max(0, step - WARMUP) / max(1, steps - 1 - WARMUP))
            cosine = FLOOR + (peak - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))
            optimiser.param_groups[0]["lr"] = peak * (step + 1) / WARMUP if step < WARMUP else cosine
            chosen = order[at : at + BATCH_TOKENS]
            a, b = (Rounded.apply(w1), Rounded.apply(w2)) if rounded else (w1, w2)
            scores, fires = F.relu(inputs[chosen].float() @ a.t()) @ b.t(), active[chosen].float()
            weight = fires + (1 - fires) * negative
            loss = F.binary_cross_entropy_with_logits(scores, fires, weight=weight, reduction="sum") / BATCH_TOKENS
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            step += 1
    return w1.detach(), w2.detach()


def main(checkpoint, text, out, tokens, epochs, rank):
    # Two threads wait for each other at every product of this size; one is faster where other work runs.
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(checkpoint + "/tokenizer.json")
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager").eval()
    inputs, active = record(model, windows_of(tokenizer, model.config.bos_token_id, text, tokens))
    plain, rounded = {}, {}
    for i, (x, fires) in enumerate(zip(inputs, active)):
        began = time.time()
        torch.manual_seed(i)
        d_model, d_ff = x.shape[1], fires.shape[1]
        first = (torch.rand(rank, d_model) * 2 - 1) / math.sqrt(d_model), (torch.rand(d_ff, rank) * 2 - 1) / math.sqrt(rank)
        weights = train(first, x, fires, epochs, PEAK, False, 0)
        for file, (w1, w2) in ((plain, weights), (rounded, train(weights, x, fires, 1, ROUNDED_PEAK, True, 9))):
            file[f"blk.{i}.fc1.weight"], file[f"blk.{i}.fc2.weight"] = w1.contiguous(), w2.contiguous()
        print(f"layer {i}: {time.time() - began:.0f} s", flush=True)
    save_file(plain, out)
    save_file(rounded, out.replace(".safetensors", ".q4_0.safetensors"))


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:7]))
