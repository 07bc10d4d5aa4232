/** What the page and its engine worker say to each other: plain data both ways. */
import type { DramAccount, DType } from "@flashwick/core";
import type { KvPrecision } from "@flashwick/cost-model";
import type { DrawnStep, MapFacts } from "@flashwick/drawings";
import type { StoredModel } from "@flashwick/flash-io/opfs";
import type { ChatMessage, FinishReason, SimulatedTrace, StudyPolicy } from "@flashwick/runtime";

export interface EngineSettings {
  /** DRAM, of the model file. */
  readonly budgetShare: number;
  /** Tokens; null: as many as fit. */
  readonly windowTokens: number | null;
  /** Null: what suits the model. */
  readonly policy: "window" | "lru" | "lfu" | "pinned" | null;
  /** A logit; null: calibrated. */
  readonly threshold: number | null;
  /** Null: what suits. */
  readonly readers: number | null;
  /** Name of a stored predictor; null: the one beside the model. */
  readonly predictor: string | null;
  /** Who computes. */
  readonly backend: "wasm" | "webgpu";
  /** Of the processor; null: what suits. */
  readonly threads: number | null;
}

/** Who drafts tokens that one step then verifies: nobody, the text itself, the same while it pays, or the sparse path for the dense model. */
export type Drafts = "off" | "lookup" | "auto" | "lossless";

export interface GenerateRequest extends EngineSettings {
  readonly model: string;
  readonly drafts: Drafts;
  readonly prompt: string;
  readonly maxTokens: number;
}

export interface ChatRequest extends EngineSettings {
  readonly model: string;
  readonly drafts: Drafts;
  /** All of them so far; the last one is the user's. */
  readonly messages: readonly ChatMessage[];
  readonly maxTokens: number;
  readonly temperature: number;
}

export interface PredictRequest extends GenerateRequest {
  /** Keys and values are reserved for a conversation. */
  readonly isChat: boolean;
}

export type Request =
  | { readonly kind: "start" }
  | { readonly kind: "importFile"; readonly file: File }
  | { readonly kind: "importUrl"; readonly url: string }
  /** Of a hub: `<owner>/<repository>/<file>`. `endpoint`: a mirror's, null for the hub itself. */
  | { readonly kind: "pull"; readonly what: string; readonly endpoint: string | null }
  | { readonly kind: "delete"; readonly name: string }
  /** Stops the request of this number, and no other. */
  | { readonly kind: "stop"; readonly task: number }
  | { readonly kind: "describe"; readonly model: string }
  | ({ readonly kind: "generate" } & GenerateRequest)
  | ({ readonly kind: "chat" } & ChatRequest)
  | ({ readonly kind: "prove" } & GenerateRequest)
  | { readonly kind: "train"; readonly model: string; readonly tokens: number }
  | ({ readonly kind: "predict" } & PredictRequest)
  /** The SHA-256 of a stored model. */
  | { readonly kind: "checksum"; readonly model: string }
  /** The bundled model once more, after it was deleted. */
  | { readonly kind: "restoreDemo" }
  | { readonly kind: "simulate"; readonly slotShares: readonly number[] };

/** A request under the page's number of it; numbers are not used again. */
export interface NumberedRequest {
  readonly task: number;
  readonly request: Request;
}

/** What is said of a request; `ended` is the last, after whatever it came to. */
export interface NumberedAnswer {
  readonly task: number;
  readonly answer: Answer;
}

/**
 * What can be left on storage, and read when it is used: single neurons, which lie together in our own files; the experts of a mixture; or of a file
 * of llama.cpp's otherwise nothing smaller than a layer.
 */
export type WeightForm = "records" | "experts" | "matrices";

export interface ExpertFacts {
  /** Layers that have any. */
  readonly layers: number;
  /** Of the layer that has most. */
  readonly count: number;
  /** That a token uses in a layer. */
  readonly chosen: number;
}

/** What a stored model is and offers. */
export interface ModelFacts {
  readonly name: string;
  readonly fileBytes: number;
  readonly architecture: string;
  readonly nLayers: number;
  readonly dtype: string;
  readonly weights: WeightForm;
  /** Of a mixture; null: it is none. */
  readonly experts: ExpertFacts | null;
  /** Why there can be no conversation with it; null: there can. */
  readonly noChat: string | null;
  /** With which it runs dense, and a short conversation has room. */
  readonly leastBudgetBytes: number;
  /** What a map of it is drawn from; null: nothing in it has a number by which caches hold it. */
  readonly map: MapFacts | null;
}

/** What the tokens of a run after its first have cost so far; 0 where there are none. */
export interface RunFigures {
  readonly tokensPerSec: number;
  readonly flashBytesPerToken: number;
  /** Of the neurons or experts that caches were asked for, 0 to 1; null where none was asked. */
  readonly cacheHitShare: number | null;
  /** A step of several tokens took an equal share for each. */
  readonly tokenMs: { readonly p50: number; readonly p99: number; readonly max: number };
}

/** What a text came to. */
export interface TextFigures extends RunFigures {
  readonly tokens: readonly number[];
  /** `context`: nothing more fits into it. */
  readonly end: FinishReason | "context";
  /** Loading and the prompt included; null where none came. */
  readonly firstTokenMs: number | null;
  readonly dramBytes: number;
  readonly fileBytes: number;
  /** Tokens whose neurons or experts are known. */
  readonly replayable: number;
}

/** What a reply came to. */
export interface ReplyFigures extends TextFigures {
  /** Of the conversation, this reply included. */
  readonly usedTokens: number;
  /** That the conversation may have. */
  readonly contextTokens: number;
}

/** A stretch of the text. */
export interface TextPiece {
  readonly text: string;
  /** Of a token that was drafted, and accepted. */
  readonly isDraft: boolean;
}

/** One step of decoding: a token, and those of the drafts after it that were accepted. Everything is of the whole step. */
export interface StepEvent extends DrawnStep {
  /** The token that it begins with. */
  readonly text: string;
  readonly flashBytes: number;
  readonly flashReads: number;
  readonly hits: number;
  readonly misses: number;
  /** By layer and neuron or expert, `[nLayers * dFf]`: `STATE` of the drawings. */
  readonly states: Uint8Array;
  /** Whether any were named at all; otherwise every one is used. */
  readonly isNamed: boolean;
  /** Of the run up to this step. */
  readonly run: RunFigures;
}

export interface RunFacts extends MapFacts {
  readonly fileBytes: number;
  readonly naiveBytesPerToken: number;
  readonly mode: string;
  readonly drafts: Drafts;
  readonly backend: string;
  readonly threads: number;
  readonly readers: number;
  readonly fallback: string | null;
  readonly dram: DramAccount;
  /** Of keys and values. */
  readonly kvPrecision: KvPrecision;
  readonly slotsByLayer: readonly number[];
}

export interface Proof {
  readonly tokens: number;
  readonly agreement: number;
  readonly meanKl: number;
  readonly sparseBytes: number;
  readonly denseBytes: number;
  /** Of keys and values, in all runs. */
  readonly kvPrecision: KvPrecision;
  readonly sparseText: string;
  readonly denseText: string;
  /** Null without a predictor: nothing can draft. */
  readonly lossless: LosslessProof | null;
}

/** A lossless run beside the dense model's, which was shown nothing but the prompt. */
export interface LosslessProof {
  readonly tokens: number;
  /** From the first one on. */
  readonly equalTokens: number;
  readonly drafted: number;
  readonly accepted: number;
  readonly steps: number;
  /** Read, of drafting and verifying. */
  readonly bytesPerToken: number;
  readonly pieces: readonly TextPiece[];
  readonly denseText: string;
}

/** A case of a kernel whose result is not the known one. */
export interface KernelFailure {
  /** What the case is: sizes, types, tolerance. */
  readonly title: string;
  /** Of the weights that the kernel reads; null: it concerns every model. */
  readonly dtype: DType | null;
  /** What was expected, and what was found. */
  readonly message: string;
}

/** The cases of one kernel. */
export interface KernelTest {
  readonly op: string;
  readonly cases: number;
  readonly failures: readonly KernelFailure[];
}

/** The self-test of this browser's kernels. */
export interface SelfTest {
  readonly kernels: readonly KernelTest[];
  readonly ms: number;
}

/** That a cache holds less than one token uses: little may be found in it. */
export interface SmallCache {
  readonly units: "neurons" | "experts";
  /** From this budget on it holds that much. */
  readonly neededBudgetBytes: number;
}

/** What the cost model expects of the settings. */
export type Prediction =
  | {
      readonly fits: true;
      readonly smallCache: SmallCache | null;
      readonly nothing: null;
      readonly tokenMs: number;
      /** By key of `PHASES`. */
      readonly phaseMs: Readonly<Record<string, number>>;
      readonly flashBytesPerToken: number;
      readonly device: string;
    }
  /** It runs, but nothing is predicted, and why. */
  | { readonly fits: true; readonly smallCache: SmallCache | null; readonly nothing: string }
  | { readonly fits: false; readonly why: string };

export type Answer =
  | {
      readonly kind: "state";
      readonly models: readonly StoredModel[];
      readonly isolated: boolean;
      readonly usageBytes: number;
      readonly quotaBytes: number;
    }
  | {
      readonly kind: "progress";
      readonly what: string;
      readonly loaded: number;
      readonly total: number;
      readonly detail: string;
    }
  | { readonly kind: "described"; readonly facts: ModelFacts }
  | { readonly kind: "run"; readonly facts: RunFacts }
  | ({ readonly kind: "text" } & TextPiece)
  | { readonly kind: "step"; readonly event: StepEvent }
  | { readonly kind: "note"; readonly message: string }
  /** `replayable`: tokens of the last complete text whose neurons or experts are known. */
  | { readonly kind: "stopped"; readonly replayable: number }
  | { readonly kind: "generated"; readonly figures: TextFigures }
  | { readonly kind: "replied"; readonly figures: ReplyFigures }
  | {
      readonly kind: "epoch";
      readonly layer: number;
      readonly nLayers: number;
      readonly epoch: number;
      readonly loss: number;
      readonly missedMass: number;
      readonly recall: number;
    }
  | { readonly kind: "trained"; readonly name: string; readonly recall: number; readonly missedMass: number }
  | { readonly kind: "prediction"; readonly prediction: Prediction }
  | { readonly kind: "proof"; readonly proof: Proof }
  | { readonly kind: "checksum"; readonly model: string; readonly sha256: string }
  /** `from`: the address of a hub's that it came from. */
  | { readonly kind: "pulled"; readonly model: string; readonly from: string }
  | { readonly kind: "selfTested"; readonly test: SelfTest }
  | {
      readonly kind: "simulated";
      readonly rows: readonly (Pick<SimulatedTrace, "slots" | "missShare"> & { readonly policy: StudyPolicy })[];
      readonly unit: MapFacts["unit"];
      readonly dFf: number;
      readonly tokens: number;
    }
  | { readonly kind: "error"; readonly message: string }
  | { readonly kind: "ended" };
