"""How a mixture of OLMoE's form routes a text, and what its perplexity is in the forms that its widened files have.

python routing_figures.py CHECKPOINT TEXT
Windows as goldens2.py cuts them: 255 tokens behind a BOS. Per layer, over all tokens but the BOS:
- kept1, kept4: share of a token's experts that the token before, or any of the four before, chose too; the first tokens of a window are left out
- least, most: smallest and largest share of the choices that one expert has; even: exp of the choices' entropy, in experts
- mass: mean sum of the chosen probabilities; meanSquareQ, meanSquareK: mean and relative deviation of what the norms of queries and keys divide by
perplexity: as it is; "renormalised": the chosen probabilities divided by their sum (Qwen3); "renormalised, unnormed": queries and keys only
multiplied by their norms' weights as well (gpt-oss).
"""
import json, math, sys, torch, torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import OlmoeForCausalLM
checkpoint, text = sys.argv[1:]
torch.set_num_threads(1)
model = OlmoeForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager").eval()
cfg, layers = model.config, model.model.layers
E, K, W = cfg.num_experts, cfg.num_experts_per_tok, 256
ids = Tokenizer.from_file(checkpoint + "/tokenizer.json").encode(open(text, encoding="utf8").read(), add_special_tokens=False).ids
windows = [[cfg.bos_token_id] + ids[i:i + W - 1] for i in range(0, len(ids) - (W - 1) + 1, W - 1)]

routes, squares = [[] for _ in layers], [{"q": [], "k": []} for _ in layers]
recording = True
def on_router(at):
    def hook(_m, _i, logits):
        if recording: routes[at].append(logits.softmax(-1).topk(K, -1))
    return hook
def on_norm(at, which):
    def hook(_m, i, _o):
        if recording: squares[at][which].append(i[0].square().mean(-1).flatten())
    return hook
for at, l in enumerate(layers):
    l.mlp.gate.register_forward_hook(on_router(at))
    l.self_attn.q_norm.register_forward_hook(on_norm(at, "q")); l.self_attn.k_norm.register_forward_hook(on_norm(at, "k"))

def perplexity():
    loss = 0.
    with torch.no_grad():
        for w in windows:
            x = torch.tensor([w]); loss += F.cross_entropy(model(x).logits[0, :-1], x[0, 1:], reduction="sum").item()
    return math.exp(loss / (len(windows) * (W - 1)))

def kept(sets, back):
    """sets [windows, tokens, E] of 0 and 1"""
    seen = torch.stack([sets[:, back - b - 1:sets.shape[1] - b - 1] for b in range(back)]).amax(0)
    return ((sets[:, back:] * seen).sum() / sets[:, back:].sum()).item()

R = lambda x: round(float(x), 4)
result = {"windows": len(windows), "perplexity": {"as it is": R(perplexity())}, "layers": []}
recording = False
for at, parts in enumerate(routes):
    sets = torch.stack([torch.zeros(W, E).scatter_(1, p.indices, 1.) for p in parts])[:, 1:]
    share = sets.sum((0, 1)) / sets.sum()
    mass = torch.cat([p.values[1:].sum(-1) for p in parts]).mean()
    square = {w: torch.cat(squares[at][w]) for w in "qk"}
    result["layers"].append({"kept1": R(kept(sets, 1)), "kept4": R(kept(sets, 4)), "least": R(share.min()), "most": R(share.max()),
        "even": R(torch.special.entr(share).sum().exp()), "mass": R(mass),
        **{f"meanSquare{w.upper()}": [R(s.mean()), R(s.std() / s.mean())] for w, s in square.items()}})
result["mean"] = {key: R(sum(l[key] for l in result["layers"]) / len(layers)) for key in ("kept1", "kept4", "least", "most", "even", "mass")}
for l in layers: l.mlp.norm_topk_prob = True
result["perplexity"]["renormalised"] = R(perplexity())
for l in layers:
    for norm in (l.self_attn.q_norm, l.self_attn.k_norm): norm.forward = lambda x, w=norm.weight: x * w
result["perplexity"]["renormalised, unnormed"] = R(perplexity())
print(json.dumps(result, indent=1))
