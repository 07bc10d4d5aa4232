"""Which rule chooses the neurons that a model misses least: the figures of docs/decisions/0042.

    python pruning_baseline.py ../../packages/demo-models opt-demo [windows, default 60]

Importances are summed over the first windows of calibration.txt, and perplexity is measured on the first windows of
evaluation.txt with the down columns of the neurons that are left out at zero, which is what pruning computes bit for bit.
Prints one line a rule: the share left out, the rule, the rise of perplexity, the neurons that stay in each layer.
"""
import math
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

torch.set_grad_enabled(False)
root, name = Path(sys.argv[1]), sys.argv[2]
WINDOWS = int(sys.argv[3]) if len(sys.argv) > 3 else 60
BATCH = 10

checkpoint = root / "models" / name
model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager")
tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
if name.startswith("opt"):
    downs = [layer.fc2 for layer in model.model.decoder.layers]
else:
    downs = [layer.mlp.dense_4h_to_h for layer in model.transformer.h]
D_FF = downs[0].weight.shape[1]
whole = [down.weight.clone() for down in downs]


def windows(file_name):
    """i64 [WINDOWS, 256]: BOS and 255 tokens each."""
    ids = tokenizer.encode((root / "texts" / file_name).read_text(), add_special_tokens=False).ids
    starts = range(0, len(ids) - 254, 255)
    return torch.tensor([[model.config.bos_token_id] + ids[at : at + 255] for at in starts][:WINDOWS])


def perplexity():
    total, tokens = 0.0, 0
    for batch in windows("evaluation.txt").split(BATCH):
        logits = model(batch).logits[:, :-1]
        targets = batch[:, 1:].reshape(-1)
        flat = logits.reshape(-1, logits.shape[-1])
        total += torch.nn.functional.cross_entropy(flat, targets, reduction="sum").item()
        tokens += targets.numel()
    return math.exp(total / tokens)


def sums():
    """How often neurons fire, their activations and the squares of these, summed: f32 [layers, dFf] each."""
    fired, linear, squares = (torch.zeros(len(downs), D_FF) for _ in range(3))

    def watch(layer):
        def hook(_, inputs):
            act = inputs[0].reshape(-1, D_FF)
            fired[layer] += (act > 0).sum(0)
            linear[layer] += act.abs().sum(0)
            squares[layer] += (act * act).sum(0)

        return hook

    hooks = [down.register_forward_pre_hook(watch(layer)) for layer, down in enumerate(downs)]
    for batch in windows("calibration.txt").split(BATCH):
        model(batch)
    for hook in hooks:
        hook.remove()
    return fired, linear, squares


def keep_most(importance, share):
    """bool [layers, dFf]: all but the share of all neurons that has least."""
    keep = torch.ones(importance.numel(), dtype=torch.bool)
    keep[importance.flatten().argsort()[: int(share * importance.numel())]] = False
    return keep.view_as(importance)


def keep_most_of_each(importance, share):
    return torch.stack([keep_most(row[None], share)[0] for row in importance])


base = perplexity()
print(f"all neurons: perplexity {base:.4f}")
fired, linear, squares = sums()
norms = torch.stack([weight.norm(dim=0) for weight in whole])
energy = squares * norms**2
rules = {
    "fires": (keep_most, fired),
    "fires, times norm": (keep_most, fired * norms),
    "mass": (keep_most, linear * norms),
    "energy": (keep_most, energy),
    "energy, of the layer's": (keep_most, energy / energy.sum(1, keepdim=True)),
    "energy, the same share of every layer": (keep_most_of_each, energy),
}
for share in (0.2, 0.28):
    for rule, (choose, importance) in rules.items():
        keep = choose(importance, share)
        for down, weight, row in zip(downs, whole, keep):
            down.weight.copy_(weight * row)
        rise = 100 * (perplexity() / base - 1)
        print(f"{share:.2f}  {rule}: {rise:+.3f} %, {keep.sum(1).tolist()}", flush=True)
