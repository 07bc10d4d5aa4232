"""Trains the gated demo checkpoint (Llama form with ReLU gates, few of which fire) on public-domain English.

python train_gated_demo.py train.json val.json TOKENIZER.json OUT STEPS [--threads 2] [--held-out TEXT.txt ...]
train.json and val.json are texts.py's; TOKENIZER.json is opt-demo's. Training documents that repeat a held-out one are left out: those of val.json, and those of
the texts named by --held-out.

The run is counted in steps, never in time: it may be stopped and continued at will. Every SAVE steps OUT receives a checkpoint that transformers loads, and
OUT.resume.pt everything needed to go on. The same command resumes; a step's batch depends on the number of the step alone.

A controller raises or lowers the weight of an L1 term on act(gate·x) and act(gate·x)·(up·x) until TARGET of the gates are open. The product alone would let a
gate stay open over an up projection near zero, and an open gate is what a sparse engine has to read.
"""
import argparse, json, math, os, shutil, time
import torch, torch.nn as nn, torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

D, L, H, FF, T, B = 256, 8, 4, 688, 256, 24          # 16 times D and FF are those of Llama 2 7B
HD = D // H
TARGET, FIRST_TARGET, FALL = 0.07, 0.3, 0.6        # the share of open gates falls to TARGET over the first FALL of the run
LR, LAST_RATE, WARMUP, DECAY = 2.5e-3, 0.03, 200, 0.05
SAVE, LOG = 200, 20

class Norm(nn.Module):
    def __init__(self):
        super().__init__(); self.weight = nn.Parameter(torch.ones(D))
    def forward(self, x): return F.rms_norm(x, (D,), self.weight, 1e-5)

class Attention(nn.Module):
    def __init__(self):
        super().__init__(); self.qkv, self.o = nn.Linear(D, 3 * D, bias=False), nn.Linear(D, D, bias=False)
    def forward(self, x, cos, sin):
        n = x.shape[0]
        q, k, v = self.qkv(x).view(n, T, 3, H, HD).permute(2, 0, 3, 1, 4)
        turned = lambda t: t * cos + torch.cat((-t[..., HD // 2:], t[..., :HD // 2]), -1) * sin
        y = F.scaled_dot_product_attention(turned(q), turned(k), v, is_causal=True)
        return self.o(y.transpose(1, 2).reshape(n, T, D))

class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(D, FF, bias=False), nn.Linear(D, FF, bias=False), nn.Linear(FF, D, bias=False)
    def forward(self, x):
        """The output, and the open gates [n, T, FF] with the mean that L1 draws down."""
        open_ = F.relu(self.gate(x)); inner = open_ * self.up(x)
        return self.down(inner), open_, (open_.float() + inner.abs().float()).mean()

class Layer(nn.Module):
    def __init__(self):
        super().__init__(); self.norm1, self.attention, self.norm2, self.ffn = Norm(), Attention(), Norm(), Gated()

class Model(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.embedding, self.layers, self.norm = nn.Embedding(vocab, D), nn.ModuleList(Layer() for _ in range(L)), Norm()
        for name, p in self.named_parameters():
            if p.dim() < 2: continue
            deep = name.endswith(("o.weight", "down.weight"))
            nn.init.normal_(p, std=0.03 if "embedding" in name else 0.06 / math.sqrt(2 * L) if deep else 0.06)
        angles = torch.outer(torch.arange(T), 10000.0 ** (-torch.arange(0, HD, 2) / HD)).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False); self.register_buffer("sin", angles.sin(), persistent=False)
    def forward(self, ids):
        """Logits [n, T, vocab]; per layer the open gates and the mean of the L1 term."""
        h, gates, means = self.embedding(ids), [], []
        for l in self.layers:
            h = h + l.attention(l.norm1(h), self.cos, self.sin)
            y, open_, mean = l.ffn(l.norm2(h)); h = h + y
            gates.append(open_.detach()); means.append(mean)
        return F.linear(self.norm(h), self.embedding.weight), gates, torch.stack(means)

def hugging_face(model):
    """The same weights under transformers' names."""
    s = {"model.embed_tokens.weight": model.embedding.weight, "lm_head.weight": model.embedding.weight, "model.norm.weight": model.norm.weight}
    for i, l in enumerate(model.layers):
        at = f"model.layers.{i}."
        for name, w in zip("qkv", l.attention.qkv.weight.split(D)): s[f"{at}self_attn.{name}_proj.weight"] = w
        s[at + "self_attn.o_proj.weight"] = l.attention.o.weight
        s[at + "input_layernorm.weight"], s[at + "post_attention_layernorm.weight"] = l.norm1.weight, l.norm2.weight
        for name in ("gate", "up", "down"): s[f"{at}mlp.{name}_proj.weight"] = getattr(l.ffn, name).weight
    return {k: v.detach().clone() for k, v in s.items()}

def export(model, vocab, eos, tokenizer, out):
    cfg = LlamaConfig(vocab_size=vocab, hidden_size=D, intermediate_size=FF, num_hidden_layers=L, num_attention_heads=H, num_key_value_heads=H, hidden_act="relu",
        max_position_embeddings=1024, rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=True, bos_token_id=eos, eos_token_id=eos, pad_token_id=1)
    plain = LlamaForCausalLM(cfg); plain.load_state_dict(hugging_face(model), strict=True)
    plain.half().save_pretrained(out, safe_serialization=True)
    shutil.copy(tokenizer, os.path.join(out, "tokenizer.json"))

def unseen(train, held):
    """The training documents that do not repeat held-out ones: the sources hold Moby Dick twice, by chapters and whole."""
    samples = [t[i:i + 100] for t in held for i in range(0, len(t) - 100, 2000)]
    return [t for t in train if sum(s in t for s in samples) < 3]

def stream(tok, eos, docs):
    ids = []
    for e in tok.encode_batch(docs, add_special_tokens=False): ids += [eos] + e.ids
    return torch.tensor(ids, dtype=torch.long)

def batch(source, n, seed):
    ix = torch.randint(0, len(source) - T - 1, (n,), generator=torch.Generator().manual_seed(seed))
    return torch.stack([source[i:i + T] for i in ix]), torch.stack([source[i + 1:i + T + 1] for i in ix])

def share_open(gates): return [(g > 0).float().mean().item() for g in gates]

def evaluate(model, source, n=64):
    """Loss, share of open gates by layer, and the share of neurons that open for no token at all."""
    x, y = batch(source, n, 1)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16): logits, gates, _ = model.forward(x)      # not compiled: one more shape is not worth a compilation
    loss = F.cross_entropy(logits.float().flatten(0, 1), y.flatten()).item()
    silent = [round(1 - (g > 0).flatten(0, 1).any(0).float().mean().item(), 3) for g in gates]
    return dict(loss=round(loss, 4), open=[round(s, 4) for s in share_open(gates)], silent=silent)

class Run:
    """Everything that a stop must not lose."""
    def __init__(self, vocab, resume_file):
        self.file, self.step, self.weight, self.open = resume_file, 0, 1e-3, 0.5
        torch.manual_seed(0); self.model = Model(vocab); self.model.compile()      # a fifth faster; needs a C++ compiler
        matrices = [p for p in self.model.parameters() if p.dim() >= 2]; vectors = [p for p in self.model.parameters() if p.dim() < 2]
        self.opt = torch.optim.AdamW([{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}], lr=LR, betas=(0.9, 0.95), fused=True)
        if os.path.exists(resume_file):
            r = torch.load(resume_file)
            self.model.load_state_dict(r["model"]); self.opt.load_state_dict(r["opt"]); self.step, self.weight, self.open = r["step"], r["weight"], r["open"]
            print("resumed at step", self.step, flush=True)
    def save(self):
        torch.save(dict(model=self.model.state_dict(), opt=self.opt.state_dict(), step=self.step, weight=self.weight, open=self.open), self.file + ".new")
        os.replace(self.file + ".new", self.file)
    def advance(self, data, done):
        """One step at the part `done` of the run: its cross entropy and rate."""
        rate = LR * min(1, (self.step + 1) / WARMUP) * (0.5 * (1 + math.cos(math.pi * done)) * (1 - LAST_RATE) + LAST_RATE)
        for group in self.opt.param_groups: group["lr"] = rate
        x, y = batch(data, B, 1000 + self.step)
        with torch.autocast("cpu", dtype=torch.bfloat16): logits, gates, means = self.model(x)
        ce = F.cross_entropy(logits.float().flatten(0, 1), y.flatten())
        self.opt.zero_grad(set_to_none=True); (ce + self.weight * means.mean()).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0); self.opt.step()
        self.control(sum(share_open(gates)) / L, done)
        self.step += 1
        return ce.item(), rate
    def control(self, share, done):
        self.open = 0.95 * self.open + 0.05 * share
        if self.step <= 100: return
        target = max(TARGET, FIRST_TARGET * (TARGET / FIRST_TARGET) ** min(1, done / FALL))
        self.weight = min(max(self.weight * (1.02 if self.open > target else 0.98), 1e-5), 50.0)

def arguments():
    ap = argparse.ArgumentParser()
    for name in ("train", "val", "tokenizer", "out"): ap.add_argument(name)
    ap.add_argument("steps", type=int); ap.add_argument("--threads", type=int, default=2); ap.add_argument("--held-out", nargs="*", default=[])
    return ap.parse_args()

def main():
    a = arguments(); out = a.out.rstrip("/")
    torch.set_num_threads(a.threads); os.makedirs(out, exist_ok=True)
    tok = Tokenizer.from_file(a.tokenizer); vocab, eos = tok.get_vocab_size(), tok.token_to_id("</s>")
    train, val = ([t for _, t in json.load(open(f))] for f in (a.train, a.val))
    kept = unseen(train, val + [open(f, encoding="utf8").read() for f in a.held_out])
    data, vdata = stream(tok, eos, kept), stream(tok, eos, val)
    print(f"documents {len(kept)} of {len(train)}, tokens {len(data)} and {len(vdata)}", flush=True)
    run = Run(vocab, out + ".resume.pt")
    print("weights", sum(p.numel() for p in run.model.parameters()), flush=True)
    clock = time.time()
    while run.step < a.steps:
        ce, rate = run.advance(data, run.step / a.steps)
        if run.step % LOG == 0:
            print(f"{run.step} {(time.time() - clock) / LOG:.2f} s a step, ce {ce:.3f} open {run.open:.4f} weight {run.weight:.4g} lr {rate:.2e}", flush=True); clock = time.time()
        if run.step % SAVE == 0 or run.step == a.steps:
            print("eval", run.step, evaluate(run.model, vdata, 64 if run.step == a.steps else 16), flush=True)
            run.save(); export(run.model, vocab, eos, a.tokenizer, out)
    print("steps", run.step, "tokens seen", run.step * B * T, flush=True)

if __name__ == "__main__": main()
