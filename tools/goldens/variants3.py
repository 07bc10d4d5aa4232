"""Tiny random checkpoints of families whose code transformers does not have: FATReLU (ProSparse, MiniCPM-S) and dReLU (Bamboo, TurboSparse).

python variants3.py OUT SEED
The classes below are written from the models' cards: ProSparse's `x where x > t, else 0` on the gate; Bamboo's `down(relu(gate x) * relu(up x))`. As in TurboSparse's
checkpoints, a layer of bamboo-tiny holds a predictor, `mlp.predictor.fc1` and `fc2`, which is fed by the residual stream before the norm; the forward pass here, like
that of the models without their predictors, does not use it.
"""
import sys, torch, torch.nn as nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
from transformers.activations import ACT2FN
import variants2

THRESHOLD, RANK = 0.3, 8

class FatRelu(nn.Module):
    def forward(self, x): return torch.where(x > THRESHOLD, x, torch.zeros_like(x))

class SparseLlamaConfig(LlamaConfig): model_type = "sparsellama"
class SparseLlamaForCausalLM(LlamaForCausalLM): config_class = SparseLlamaConfig

class BambooConfig(MistralConfig): model_type = "bamboo"

class Predictor(nn.Module):
    def __init__(self, d, f):
        super().__init__(); self.fc1, self.fc2 = nn.Linear(d, RANK, bias=False), nn.Linear(RANK, f, bias=False)

class BambooMlp(nn.Module):
    def __init__(self, config):
        super().__init__(); d, f = config.hidden_size, config.intermediate_size
        self.gate_proj, self.up_proj, self.down_proj = nn.Linear(d, f, bias=False), nn.Linear(d, f, bias=False), nn.Linear(f, d, bias=False)
        self.act_fn, self.predictor = nn.ReLU(), Predictor(d, f)
    def forward(self, x): return self.down_proj(self.act_fn(self.gate_proj(x)) * self.act_fn(self.up_proj(x)))

class BambooForCausalLM(MistralForCausalLM):
    config_class = BambooConfig
    def __init__(self, config):
        super().__init__(config)
        for layer in self.model.layers: layer.mlp = BambooMlp(config)

ACT2FN["fatrelu"] = FatRelu
for config, model in ((SparseLlamaConfig, SparseLlamaForCausalLM), (BambooConfig, BambooForCausalLM)):
    AutoConfig.register(config.model_type, config); AutoModelForCausalLM.register(config, model)
    variants2.OWN.update({config.__name__: config, model.__name__: model})

B, OLD = variants2.B, variants2.OLD
S = [("prosparse-tiny", "SparseLlama", B(num_key_value_heads=4, intermediate_size=256, rms_norm_eps=1e-5, hidden_act="fatrelu", hidden_act_param=THRESHOLD, tie_word_embeddings=False),
        "safetensors", "bfloat16", dict(OLD, drop=["head_dim", "attention_bias", "mlp_bias"])),
     ("bamboo-tiny", "Bamboo", B(num_key_value_heads=2, intermediate_size=192, rms_norm_eps=1e-5, hidden_act="relu", sliding_window=16, tie_word_embeddings=False),
        "safetensors-sharded", "bfloat16", dict(OLD, drop=["head_dim"]))]

if __name__ == "__main__":
    for s in S: variants2.make(sys.argv[1], int(sys.argv[2]), *s)
