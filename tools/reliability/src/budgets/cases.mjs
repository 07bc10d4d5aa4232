// @ts-check
/** What is run within a budget: models, modes, lengths, budgets. Pure. */

/**
 * @typedef {object} BudgetCase
 * @property {string} model  Key of the models that budgets.mjs makes.
 * @property {string} mode
 * @property {"run" | "serve" | "train" | "calibrate" | "eval"} command
 * @property {readonly string[]} flags
 * @property {number} promptTokens
 * @property {number} newTokens
 * @property {"smallest" | number} budget  The least that works for this length, or a share of the file.
 * @property {number} threads
 * @property {number} readers
 * @property {number} workers  Threads that train.
 */

/** How a text is generated, by what its model can. */
const MODES = {
  dense: ["--dense"],
  predicted: [],
  lossless: ["--lossless"],
  lookup: ["--speculate", "lookup", "--draft-tokens", "6"],
  oracle: ["--oracle"],
  "f32 keys": ["--kv-precision", "f32"],
  "8-bit keys": ["--kv-precision", "int8"],
  "ahead, any gap": ["--lookahead", "on", "--overlap", "on", "--merge-gap", "65536"],
  pool: ["--cache-scope", "pool", "--policy", "least-stale", "--lookahead", "on"],
  "one expert": ["--experts", "1"],
};

/** @type {Record<string, readonly (keyof typeof MODES)[]>} */
const MODES_OF = {
  "opt-demo f16": ["dense", "predicted", "lossless", "lookup", "oracle", "f32 keys", "8-bit keys", "ahead, any gap"],
  "opt-demo int8": ["dense", "oracle"],
  "opt-demo q4": ["dense", "oracle"],
  "falcon-demo f16": ["dense", "predicted", "lossless", "oracle", "ahead, any gap"],
  "olmoe-demo f16": ["dense", "lookup", "pool", "one expert", "8-bit keys"],
  "olmoe-demo q4": ["dense", "pool"],
  "llama.gguf": ["dense", "lookup"],
  "gemma3.gguf": ["dense"],
  "large opt f16": ["dense", "predicted", "lossless", "lookup", "ahead, any gap"],
};

/** Tokens of contexts: those of the demo models, and of the tiny ones. @param {string} model */
const contextTokens = (model) => (model.endsWith(".gguf") ? 256 : 1024);
const NEW_TOKENS = 8;

/** @returns {BudgetCase[]} */
export function budgetCases() {
  /** @type {BudgetCase[]} */
  const cases = [];
  for (const [model, modes] of Object.entries(MODES_OF)) {
    for (const [i, mode] of modes.entries()) {
      for (const promptTokens of [1, 100, contextTokens(model) - NEW_TOKENS]) {
        for (const budget of /** @type {const} */ (["smallest", 0.6])) {
          // Every other mode with threads: alike for both budgets, so that these can be compared.
          const threading = i % 2 === 0 ? { threads: 1, readers: 0 } : { threads: 2, readers: 4 };
          cases.push({
            ...{ model, mode, command: "run", flags: MODES[mode], promptTokens, newTokens: NEW_TOKENS, budget },
            ...{ ...threading, workers: 0 },
          });
        }
      }
    }
  }
  const whole = { promptTokens: 0, newTokens: 0, threads: 2, readers: 0, workers: 0, flags: [] };
  for (const model of ["opt-demo f16", "olmoe-demo f16", "large opt f16"]) {
    cases.push({ ...whole, model, mode: "4 texts at once", command: "serve", budget: 0.6, readers: 4 });
    cases.push({ ...whole, model, mode: "evaluation", command: "eval", budget: 0.6 });
  }
  cases.push({ ...whole, model: "opt-demo f16", mode: "training", command: "train", budget: 1, workers: 2 });
  cases.push({ ...whole, model: "opt-demo f16", mode: "calibration", command: "calibrate", budget: 1.34 });
  return cases;
}
