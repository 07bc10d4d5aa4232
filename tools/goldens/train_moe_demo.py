"""Trains the demo mixture of experts (OLMoE architecture, 16 experts of which 2 are chosen) on public-domain English.

nice -n 15 python train_moe_demo.py train.json val.json TOKENIZER.json OUT MINUTES [--threads 1]
train.json and val.json are texts.py's; TOKENIZER.json is opt-demo's. Every five minutes OUT receives a checkpoint that transformers loads, and
OUT/../<name>.resume.pt everything needed to go on: the same command resumes, and the schedule counts the minutes trained, not those of the clock.

A controller raises or lowers the weight of a term on locality until KEPT of a token's experts were used by one of the NEAR tokens before: left alone, a
model this small chooses by the token at hand. Published caches of four times the experts that a token uses hit about three times in four (Qwen3-30B-A3B).

Three choices serve the widened files that tools/models/made-mixture.mjs makes, and leave the model a plain OLMoE:
- q_norm and k_norm hold the same weights for every head, so that a norm per head (Qwen3) can compute them;
- a term draws the mean square of q and k before their norms to 1, so that a family without these norms (gpt-oss) comes near;
- a term draws the two chosen probabilities to a sum of 1, so that a router that divides by that sum (Qwen3, gpt-oss) comes near.
"""
import argparse, json, math, os, shutil, time
import torch, torch.nn as nn, torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import OlmoeConfig, OlmoeForCausalLM

ap = argparse.ArgumentParser()
for name in ("train", "val", "tokenizer", "out"): ap.add_argument(name)
ap.add_argument("minutes", type=float)
ap.add_argument("--threads", type=int, default=1)
a = ap.parse_args()
D, L, H, E, K, W, T, B = 128, 8, 4, 16, 2, 128, 256, 8
HD = D // H
LR, WARMUP, DECAY = 2.5e-3, 300, 0.05
BALANCE, Z, QK, MASS = 0.05, 1e-3, 1e-3, 0.03      # weights of the router's balance and z terms, of the q/k term and of the top-2 term, per layer
KEPT, NEAR = 0.73, 4
PAD = 64
SAVE_SECONDS = 300
torch.manual_seed(0); torch.set_num_threads(a.threads); torch.set_float32_matmul_precision("medium")
os.makedirs(a.out, exist_ok=True)
resume_file = a.out.rstrip("/") + ".resume.pt"

tok = Tokenizer.from_file(a.tokenizer)
V, eos = tok.get_vocab_size(), tok.token_to_id("</s>")

def unseen(train, val):
    """The training documents that do not repeat held-out ones: the sources hold Moby Dick twice, by chapters and whole."""
    samples = [t[i:i + 100] for t in val for i in range(0, len(t) - 100, 2000)]
    return [t for t in train if sum(s in t for s in samples) < 3]

def stream(docs):
    ids = []
    for e in tok.encode_batch(docs, add_special_tokens=False): ids += [eos] + e.ids
    return torch.tensor(ids, dtype=torch.long)

train, val = ([t for _, t in json.load(open(f))] for f in (a.train, a.val))
kept = unseen(train, val)
data, vdata = stream(kept), stream(val)
print(f"documents {len(kept)} of {len(train)}, tokens {len(data)} and {len(vdata)}", flush=True)

class Norm(nn.Module):
    def __init__(self, n):
        super().__init__(); self.weight = nn.Parameter(torch.ones(n))
    def forward(self, x): return F.rms_norm(x, (x.shape[-1],), self.weight, 1e-5)

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.o = nn.Linear(D, 3 * D, bias=False), nn.Linear(D, D, bias=False)
        self.q_norm, self.k_norm = nn.Parameter(torch.ones(HD)), nn.Parameter(torch.ones(HD))
    def forward(self, x, cos, sin):
        n = x.shape[0]
        q, k, v = self.qkv(x).split(D, -1)
        def turned(t, w):
            square = t.float().square().mean(-1, keepdim=True)
            t = (t * torch.rsqrt(square + 1e-5)).view(n, T, H, HD).transpose(1, 2) * w
            half = torch.cat((-t[..., HD // 2:], t[..., :HD // 2]), -1)
            return t * cos + half * sin, (square + 1e-5).log().square().mean()
        (q, spread_q), (k, spread_k) = turned(q, self.q_norm), turned(k, self.k_norm)
        v = v.view(n, T, H, HD).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(y.transpose(1, 2).reshape(n, T, D)), spread_q + spread_k

def before(x):
    """[n, T, E] -> [n, T - NEAR, E]: for each token from NEAR on, the sum over the NEAR before it"""
    c = F.pad(x.cumsum(1), (0, 0, 1, 0)); return c[:, NEAR:-1] - c[:, :-NEAR - 1]

def locality(p, ids):
    """How much less a token's choice is like those before it than like any other, a log; and the share of its experts that one of them used"""
    sets = torch.zeros_like(p).scatter(2, ids, 1.)
    kept = (sets[:, NEAR:] * (before(sets) > 0.5)).sum() / sets[:, NEAR:].sum()
    alike = lambda others: (p[:, NEAR:] * others).sum(-1).clamp_min(1e-6).log().mean()
    return alike(p.mean((0, 1))) - alike(before(p) / NEAR), kept

class Experts(nn.Module):
    """Tokens sorted by expert, one matrix product an expert, in multiples of PAD rows: oneDNN makes a kernel for each number of rows."""
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(D, E, bias=False)
        self.gate_up = nn.Parameter(torch.empty(E, 2 * W, D)); self.down = nn.Parameter(torch.empty(E, D, W))
    def forward(self, x):
        flat = x.reshape(-1, D)
        logits = self.gate(flat)
        p = logits.softmax(-1)
        weights, ids = p.topk(K, -1)
        chosen = ids.flatten(); order = chosen.argsort(stable=True)
        counts = torch.bincount(chosen, minlength=E); padded = (counts + PAD - 1) // PAD * PAD
        at = torch.arange(len(order)) + ((padded.cumsum(0) - padded) - (counts.cumsum(0) - counts))[chosen[order]]
        rows = torch.zeros(int(padded.sum()), dtype=torch.long).index_copy(0, at, order // K)
        scale = torch.zeros(len(rows)).index_copy(0, at, weights.flatten()[order])
        out = []
        for part, gate_up, down in zip(flat[rows].split(padded.tolist()), self.gate_up.unbind(), self.down.unbind()):
            g, u = F.linear(part, gate_up).chunk(2, -1)
            out.append(F.linear(F.silu(g) * u, down))
        y = torch.cat(out) * scale.unsqueeze(-1)
        balance = E * (counts / len(flat) * p.mean(0)).sum()
        local, kept = locality(p.view(*x.shape[:2], E), ids.view(*x.shape[:2], K))
        z = logits.logsumexp(-1).square().mean()
        mass = -weights.sum(-1).clamp_min(1e-6).log().mean()
        return torch.zeros_like(flat).index_add(0, rows, y.to(flat.dtype)).view_as(x), balance, z, mass, local, kept, counts

class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.attention, self.norm2, self.experts = Norm(D), Attention(), Norm(D), Experts()

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.layers, self.norm = nn.Embedding(V, D), nn.ModuleList(Layer() for _ in range(L)), Norm(D)
        for name, p in self.named_parameters():
            if p.dim() < 2: continue
            deep = name.endswith(("o.weight", "down"))
            nn.init.normal_(p, std=0.03 if "embedding" in name else 0.06 / math.sqrt(2 * L) if deep else 0.06)
        angles = torch.outer(torch.arange(T), 10000.0 ** (-torch.arange(0, HD, 2) / HD)).repeat(1, 2)
        self.register_buffer("cos", angles.cos()); self.register_buffer("sin", angles.sin())
    def forward(self, ids):
        """Logits, and per layer: q/k spread, balance, z, missing mass, missing locality, share of experts kept, tokens by expert."""
        h, terms = self.embedding(ids), []
        for l in self.layers:
            y, spread = l.attention(l.norm1(h), self.cos, self.sin); h = h + y
            y, *router = l.experts(l.norm2(h)); h = h + y
            terms.append((spread, *router))
        return F.linear(self.norm(h), self.embedding.weight), terms

def hugging_face(model):
    """The same weights under transformers' names."""
    s = {"model.embed_tokens.weight": model.embedding.weight, "lm_head.weight": model.embedding.weight, "model.norm.weight": model.norm.weight}
    for i, l in enumerate(model.layers):
        at = f"model.layers.{i}."
        for name, w in zip("qkv", l.attention.qkv.weight.split(D)): s[f"{at}self_attn.{name}_proj.weight"] = w
        s[at + "self_attn.o_proj.weight"] = l.attention.o.weight
        for name in ("q_norm", "k_norm"): s[f"{at}self_attn.{name}.weight"] = getattr(l.attention, name).repeat(H)
        s[at + "input_layernorm.weight"], s[at + "post_attention_layernorm.weight"] = l.norm1.weight, l.norm2.weight
        s[at + "mlp.gate.weight"] = l.experts.gate.weight
        for e in range(E):
            gate, up = l.experts.gate_up[e].chunk(2)
            for name, w in (("gate", gate), ("up", up), ("down", l.experts.down[e])): s[f"{at}mlp.experts.{e}.{name}_proj.weight"] = w
    return {k: v.detach().clone() for k, v in s.items()}

def export(model):
    cfg = OlmoeConfig(vocab_size=V, hidden_size=D, intermediate_size=W, num_hidden_layers=L, num_attention_heads=H, num_key_value_heads=H,
        num_experts=E, num_experts_per_tok=K, norm_topk_prob=False, max_position_embeddings=1024, rms_norm_eps=1e-5, rope_theta=10000.0,
        tie_word_embeddings=True, router_aux_loss_coef=BALANCE, bos_token_id=eos, eos_token_id=eos, pad_token_id=1)
    plain = OlmoeForCausalLM(cfg); plain.load_state_dict(hugging_face(model), strict=True)
    plain.half().save_pretrained(a.out, safe_serialization=True)
    shutil.copy(a.tokenizer, os.path.join(a.out, "tokenizer.json"))

def batch(source, n, g=None):
    ix = torch.randint(0, len(source) - T - 1, (n,), generator=g)
    return torch.stack([source[i:i + T] for i in ix]), torch.stack([source[i + 1:i + T + 1] for i in ix])

def evaluate(model, n=64):
    x, y = batch(vdata, n, torch.Generator().manual_seed(1))
    with torch.no_grad(): logits, terms = model(x)
    shares = torch.stack([t[6] for t in terms]) / (n * T * K)
    return dict(loss=round(F.cross_entropy(logits.view(-1, V), y.view(-1)).item(), 4), spread=[round(t[0].item(), 3) for t in terms],
        mass=[round(math.exp(-t[3].item()), 3) for t in terms], kept=[round(t[5].item(), 3) for t in terms], least=[round(s, 4) for s in shares.min(1).values.tolist()],
        most=[round(s, 3) for s in shares.max(1).values.tolist()])

model = Model()
print("weights", sum(p.numel() for p in model.parameters()), flush=True)
matrices = [p for p in model.parameters() if p.dim() >= 2]; vectors = [p for p in model.parameters() if p.dim() < 2]
opt = torch.optim.AdamW([{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}], lr=LR, betas=(0.9, 0.95), fused=True)
step, trained, pull = 0, 0.0, 0.02
if os.path.exists(resume_file):
    r = torch.load(resume_file)
    model.load_state_dict(r["model"]); opt.load_state_dict(r["opt"]); torch.set_rng_state(r["rng"]); step, trained, pull = r["step"], r["trained"], r["pull"]
    print(f"resumed at step {step}, {trained:.0f} s", flush=True)

def save():
    torch.save(dict(model=model.state_dict(), opt=opt.state_dict(), rng=torch.get_rng_state(), step=step, trained=trained, pull=pull), resume_file + ".new")
    os.replace(resume_file + ".new", resume_file); export(model)

total, saved, clock = a.minutes * 60, trained, time.time()
while trained < total:
    done = trained / total
    rate = LR * min(1, (step + 1) / WARMUP) * (0.5 * (1 + math.cos(math.pi * done)) * 0.99 + 0.01)
    for group in opt.param_groups: group["lr"] = rate
    x, y = batch(data, B)
    logits, terms = model(x)
    ce = F.cross_entropy(logits.view(-1, V), y.view(-1))
    spread, balance, z, mass, local, kept = (sum(t[i] for t in terms) for i in range(6))
    ramp = min(1, max(0, (done - 0.2) / 0.4))
    loss = ce + BALANCE * balance + Z * z + QK * spread + MASS * ramp * mass + pull * local
    pull = min(0.3, max(1e-4, pull * (1.03 if kept.item() / L < KEPT else 0.97)))
    opt.zero_grad(set_to_none=True); loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0); opt.step()
    now = time.time(); trained += now - clock; clock = now
    if step % 50 == 0:
        print(f"{step} {trained:.0f}s ce {ce.item():.3f} spread {spread.item() / L:.3f} balance {balance.item() / L:.3f} z {z.item() / L:.2f} mass {math.exp(-mass.item() / L):.3f} kept {kept.item() / L:.3f} pull {pull:.4f} lr {rate:.2e}", flush=True)
    step += 1
    if trained - saved > SAVE_SECONDS:
        print("eval", evaluate(model, 16), flush=True); save(); saved = trained; clock = time.time()
save()
print("eval", evaluate(model), "steps", step, "tokens seen", step * B * T, flush=True)
