/**
 * Which expansion makes each tensor of the target. Pure. README.md, "Mixtures of experts", derives the factors.
 *
 * With m copies of the residual stream of d channels in D, s slices of an expert and f copies of each of their neurons, and n = √(m·d/D) for the
 * channels that hold nothing:
 *
 *     norms n/m      q, k 1 (their norms √(width/width) and 1)   v 1   out 1/copies     router 1
 *     gate, up 1     down s/f: a slice's probability is 1/s of its expert's
 *
 * gpt-oss: gate 1/1.702 and up 1/4 with a bias of -1, for its gate · σ(1.702 gate) · (up + 1); down 4 · 1.702 as much.
 */
import { type Copies, cancellingFactors, mapped, matrixOf, tiled, vectorOf, weighted } from "../expansion.js";
import { neuronOrder } from "../neuron-order.js";
import { filledHeads, headNorm, sparseHeads, valueHeads } from "./head-copies.js";
import { type Marks, marksOf } from "./marks.js";
import type { ConstantPart, ExpandedPart, MixtureDType, MixtureTensor, TensorPart } from "./mixture-parts.js";
import type { MixtureLayer, MixtureScale } from "./mixture-size.js";

/** gpt-oss's own constant, and what brings `up` within its clamp of ±7. */
const GPT_OSS_SIGMOID = 1.702;
const UP_SHARE = 1 / 4;
/** Of what attention may look at besides tokens: a score that adds nothing to a softmax. */
const NO_SINK = -1e9;

/** Weights of the norms of queries and keys by source layer, f32 `[dModel]`: gpt-oss's matrices take them. */
export type HeadNorms = readonly { readonly q: Float32Array; readonly k: Float32Array }[];

export interface MixtureForm {
  /** Of matrices in layers; embedding and head are Q8_0 beside Q4_0. */
  readonly dtype: "f32" | "q4_0";
  /** Of the order of experts. */
  readonly seed: number;
}

/** All tensors, in the order of the file. */
export function mixtureTensors(scale: MixtureScale, norms: HeadNorms, form: MixtureForm): MixtureTensor[] {
  const marks = marksOf(scale);
  const outer = form.dtype === "f32" ? "f32" : "q8_0";
  const making = { scale, marks, norms, ...form };
  return [
    embeddingTensor(scale, marks, outer),
    ...scale.layers.flatMap((_, index) => new LayerTensors(making, index).all()),
    residualNorm(scale, null, "output_norm.weight", "model.norm.weight", (_, row) => marks.passConstant(row)),
    headTensor(scale, marks, outer),
  ];
}

/** Channels of the residual stream: copies, and zeros. */
function residual({ source, target, widthCopies }: MixtureScale, factor = 1): Copies {
  const held = widthCopies * source.dModel;
  const channels = mapped(target.dModel, (i) => i % source.dModel, factor);
  return weighted(channels, (i) => (i < held ? 1 : 0));
}

/** Rows of tokens, and zeros for those that are none. */
function tokens({ source, target }: MixtureScale): Copies {
  const rows = mapped(target.vocabSize, (i) => (i < source.vocabSize ? i : 0));
  return weighted(rows, (i) => (i < source.vocabSize ? 1 : 0));
}

function embeddingTensor(scale: MixtureScale, marks: Marks, dtype: MixtureDType): MixtureTensor {
  const mark = (row: number, values: Float32Array) => {
    if (row < scale.source.vocabSize) marks.embed(row, values);
  };
  return vocabularyTensor(scale, "token_embd.weight", dtype, mark);
}

function headTensor(scale: MixtureScale, marks: Marks, dtype: MixtureDType): MixtureTensor {
  const mark = (row: number, values: Float32Array) => {
    if (row >= scale.source.vocabSize) marks.subtractConstant(values);
  };
  return vocabularyTensor(scale, "output.weight", dtype, mark);
}

function vocabularyTensor(
  scale: MixtureScale,
  name: string,
  dtype: MixtureDType,
  mark: NonNullable<ExpandedPart["mark"]>,
): MixtureTensor {
  const { source, target } = scale;
  const expansion = matrixOf(tokens(scale), residual(scale));
  const part = { source: "model.embed_tokens.weight", sourceCols: source.dModel, expansion, mark };
  return { name, dtype, shape: [target.dModel, target.vocabSize], sourceLayer: null, parts: () => [part] };
}

function residualNorm(
  scale: MixtureScale,
  sourceLayer: number | null,
  name: string,
  source: string,
  mark?: ExpandedPart["mark"],
): MixtureTensor {
  const { dModel } = scale.source;
  const factor = Math.sqrt((scale.widthCopies * dModel) / scale.target.dModel) / scale.widthCopies;
  const part = { source, sourceCols: dModel, expansion: vectorOf(residual(scale, factor)), ...(mark && { mark }) };
  return { name, dtype: "f32", shape: [scale.target.dModel], sourceLayer, parts: () => [part] };
}

/** An expert of the target. */
interface ExpertCopy {
  readonly source: number;
  readonly slice: number;
  readonly twin: number;
}

/** What all layers are made with. */
interface Making extends MixtureForm {
  readonly scale: MixtureScale;
  readonly marks: Marks;
  readonly norms: HeadNorms;
}

class LayerTensors {
  readonly #scale: MixtureScale;
  readonly #making: Making;
  readonly #index: number;
  readonly #layer: MixtureLayer;
  readonly #experts: readonly ExpertCopy[];
  readonly #isGptOss: boolean;

  constructor(making: Making, index: number) {
    this.#making = making;
    this.#scale = making.scale;
    this.#index = index;
    this.#layer = making.scale.layers[index]!;
    this.#experts = expertCopies(making.scale, making.seed, index);
    this.#isGptOss = making.scale.target.architecture === "gpt-oss";
  }

  all(): MixtureTensor[] {
    const { target } = this.#scale;
    const widths = { q: target.nHeads * target.headDim, kv: target.nKvHeads * target.headDim };
    return [
      this.#norm("attn_norm", "input_layernorm"),
      this.#matrix("attn_q", "self_attn.q_proj", matrixOf(this.#scores("q", target.nHeads), this.#inputs())),
      this.#matrix("attn_k", "self_attn.k_proj", matrixOf(this.#scores("k", target.nKvHeads), this.#inputs())),
      this.#matrix("attn_v", "self_attn.v_proj", matrixOf(valueHeads(this.#scale, target.nKvHeads), this.#inputs())),
      this.#matrix("attn_output", "self_attn.o_proj", matrixOf(this.#inputs(), this.#attended())),
      ...(this.#isGptOss ? this.#attentionConstants(widths.q, widths.kv) : this.#headNorms()),
      this.#norm(this.#isGptOss ? "post_attention_norm" : "ffn_norm", "post_attention_layernorm", (_, row) =>
        this.#making.marks.passSides(row),
      ),
      this.#router(),
      ...this.#expertMatrices(),
      ...(this.#isGptOss ? this.#expertConstants() : []),
    ];
  }

  #inputs(): Copies {
    return residual(this.#scale);
  }

  /** Rows of queries or keys. Scores are divided by the root of the wider head, so queries are larger by its ratio. */
  #scores(which: "q" | "k", heads: number): Copies {
    if (!this.#isGptOss) return filledHeads(this.#scale, heads);
    const weights = this.#making.norms[this.#layer.sourceLayer]![which];
    return sparseHeads(this.#scale, heads, (row) => weights[row]! * this.#queryFactor(which));
  }

  #queryFactor(which: "q" | "k"): number {
    return which === "q" ? Math.sqrt(this.#scale.headWidthCopies) : 1;
  }

  /** Columns of attention's output: the mean of the copies of each dimension, or nothing. */
  #attended(): Copies {
    const { source, target, headCopies, headWidthCopies } = this.#scale;
    const copies = headCopies * headWidthCopies;
    const columns = valueHeads(this.#scale, target.nHeads);
    if (this.#layer.attends) return weighted(columns, () => 1 / copies);
    const factors = cancellingFactors(copies);
    const copyOf = (column: number) => Math.floor(column / source.headDim) % copies;
    return weighted(columns, (column) => factors[copyOf(column)]! / copies);
  }

  /** OLMoE has a weight for each dimension of all heads, Qwen3 for those of one. */
  #headNorms(): MixtureTensor[] {
    const { architecture, headDim, nHeads, nKvHeads } = this.#scale.target;
    const heads = { q: architecture === "olmoe" ? nHeads : 1, k: architecture === "olmoe" ? nKvHeads : 1 };
    return (["q", "k"] as const).map((which) => {
      const expansion = vectorOf(headNorm(this.#scale, heads[which], this.#queryFactor(which)));
      const part = this.#part(`self_attn.${which}_norm`, this.#scale.source.dModel, expansion);
      return this.#tensor(`attn_${which}_norm.weight`, "f32", [heads[which] * headDim], () => [part]);
    });
  }

  #attentionConstants(queries: number, keys: number): MixtureTensor[] {
    return [
      this.#constant("attn_q.bias", [queries], 0),
      this.#constant("attn_k.bias", [keys], 0),
      this.#constant("attn_v.bias", [keys], 0),
      this.#constant("attn_output.bias", [this.#scale.target.dModel], 0),
      this.#constant("attn_sinks.weight", [this.#scale.target.nHeads], NO_SINK),
    ];
  }

  #router(): MixtureTensor {
    const { dModel, nExperts } = this.#scale.target;
    return this.#tensor("ffn_gate_inp.weight", "f32", [dModel, nExperts], () =>
      this.#eachExpert((expert) => this.#routerRow(expert)),
    );
  }

  #routerRow({ source, twin }: ExpertCopy): ExpandedPart {
    const row = mapped(1, () => source);
    const mark = (_: number, values: Float32Array) => this.#making.marks.subtractOtherSide(twin, values);
    return { ...this.#part("mlp.gate", this.#scale.source.dModel, matrixOf(row, this.#inputs())), mark };
  }

  #expertMatrices(): MixtureTensor[] {
    const { dModel, dExpert, nExperts } = this.#scale.target;
    const [gateFactor, upFactor] = this.#isGptOss ? [1 / GPT_OSS_SIGMOID, UP_SHARE] : [1, 1];
    const tensor = (name: string, shape: number[], partOf: (expert: ExpertCopy) => TensorPart) =>
      this.#tensor(`ffn_${name}_exps.weight`, this.#making.dtype, [...shape, nExperts], () => this.#eachExpert(partOf));
    return [
      tensor("gate", [dModel, dExpert], (expert) => this.#upward("gate", expert, gateFactor)),
      tensor("up", [dModel, dExpert], (expert) => this.#upward("up", expert, upFactor)),
      tensor("down", [dExpert, dModel], (expert) => this.#downward(expert, 1 / (gateFactor * upFactor))),
    ];
  }

  *#eachExpert(partOf: (expert: ExpertCopy) => TensorPart): Generator<TensorPart> {
    for (const expert of this.#experts) yield partOf(expert);
  }

  #upward(which: "gate" | "up", { source, slice }: ExpertCopy, factor: number): ExpandedPart {
    const rows = this.#neurons(slice);
    const expansion = matrixOf(
      weighted(rows, () => factor),
      this.#inputs(),
    );
    return this.#part(`mlp.experts.${source}.${which}_proj`, this.#scale.source.dModel, expansion);
  }

  /** Columns of a slice's neurons, each the mean of its copies times the number of slices; or nothing. */
  #downward({ source, slice }: ExpertCopy, factor: number): ExpandedPart {
    const { neuronCopies, slices, source: sizes } = this.#scale;
    const signs = this.#layer.hasExperts ? new Float32Array(neuronCopies).fill(1) : cancellingFactors(neuronCopies);
    const copyOf = (column: number) => Math.floor(column / (sizes.dExpert / slices));
    const share = (slices * factor) / neuronCopies;
    const columns = weighted(this.#neurons(slice), (column) => signs[copyOf(column)]! * share);
    return this.#part(`mlp.experts.${source}.down_proj`, sizes.dExpert, matrixOf(this.#inputs(), columns));
  }

  /** The neurons of a slice, again and again. */
  #neurons(slice: number): Copies {
    const { source, slices, neuronCopies } = this.#scale;
    const count = source.dExpert / slices;
    const { indices, factors } = tiled(count, neuronCopies);
    return { indices: indices.map((neuron) => slice * count + neuron), factors };
  }

  #expertConstants(): MixtureTensor[] {
    const { dModel, dExpert, nExperts } = this.#scale.target;
    return [
      this.#constant("ffn_gate_inp.bias", [nExperts], 0),
      this.#constant("ffn_gate_exps.bias", [dExpert, nExperts], 0),
      this.#constant("ffn_up_exps.bias", [dExpert, nExperts], -1),
      this.#constant("ffn_down_exps.bias", [dModel, nExperts], 0),
    ];
  }

  #norm(name: string, source: string, mark?: ExpandedPart["mark"]): MixtureTensor {
    const from = `model.layers.${this.#layer.sourceLayer}.${source}.weight`;
    return residualNorm(this.#scale, this.#layer.sourceLayer, `blk.${this.#index}.${name}.weight`, from, mark);
  }

  #matrix(name: string, source: string, expansion: ExpandedPart["expansion"]): MixtureTensor {
    const part = this.#part(source, this.#scale.source.dModel, expansion);
    const shape = [expansion.columns.length, expansion.rows.length];
    return this.#tensor(`${name}.weight`, this.#making.dtype, shape, () => [part]);
  }

  #part(source: string, sourceCols: number, expansion: ExpandedPart["expansion"]): ExpandedPart {
    return { source: `model.layers.${this.#layer.sourceLayer}.${source}.weight`, sourceCols, expansion };
  }

  #constant(name: string, shape: number[], constant: number): MixtureTensor {
    const part: ConstantPart = { constant, count: shape.reduce((product, n) => product * n, 1) };
    return this.#tensor(name, "f32", shape, () => [part]);
  }

  #tensor(name: string, dtype: MixtureDType, shape: number[], parts: MixtureTensor["parts"]): MixtureTensor {
    return { name: `blk.${this.#index}.${name}`, dtype, shape, sourceLayer: this.#layer.sourceLayer, parts };
  }
}

/** The experts of a layer, in an order of its own in which no two copies of one are neighbours. */
function expertCopies({ source, slices, twins }: MixtureScale, seed: number, layer: number): ExpertCopy[] {
  const order = neuronOrder(source.nExperts, slices * twins, seed, layer);
  return Array.from(order, (entry) => {
    const copy = Math.floor(entry / source.nExperts);
    return { source: entry % source.nExperts, slice: copy % slices, twin: Math.floor(copy / slices) };
  });
}
