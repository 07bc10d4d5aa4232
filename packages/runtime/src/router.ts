/**
 * Which experts a token uses, and with which weights: what a router's logits say. Pure, in doubles, rounded once: the same wherever it is computed.
 *
 *     softmax "all"      p = softmax(z) over all experts; S = the k largest; w = p_S          Mixtral, OLMoE, Qwen
 *     softmax "chosen"   S = the k largest z; w = softmax(z_S)                                gpt-oss
 *     normalised         w is divided by its sum
 */
import { type ExpertsGeometry, IntegrityError } from "@flashwick/core";

/** The experts of one token. */
export interface TokenRoute {
  /** Ascending. */
  readonly experts: Uint32Array;
  /** What the output of each is multiplied by, f32. */
  readonly weights: Float32Array;
}

/**
 * @param logits f32 `[count]`.
 * @param layer  For messages.
 * @throws {IntegrityError} `INTEGRITY_ROUTER` where a logit is no finite number: weights are damaged, or what came before them was.
 * Cost: O(count · chosen).
 */
export function routeToken(logits: Float32Array, geometry: ExpertsGeometry, layer: number): TokenRoute {
  return weighExperts(logits, largestLogits(logits, geometry.chosen, layer), geometry);
}

/**
 * The same for experts that were chosen in another way: their weights follow the router's own rule over them.
 *
 * @param experts Ascending, distinct, at least one. @param logits Finite.
 */
export function weighExperts(
  logits: Float32Array,
  experts: Uint32Array,
  { router }: Pick<ExpertsGeometry, "router">,
): TokenRoute {
  const among = router.softmax === "all" ? logits : Float32Array.from(experts, (expert) => logits[expert]!);
  const most = Math.max(...among);
  let sum = 0;
  for (const logit of among) sum += Math.exp(logit - most);
  const shares = Array.from(experts, (expert) => Math.exp(logits[expert]! - most) / sum);
  const total = router.normalised ? shares.reduce((a, b) => a + b, 0) : 1;
  return { experts, weights: Float32Array.from(shares, (share) => share / total) };
}

/** The experts of the `chosen` largest logits, ascending; of equal ones the lowest. @throws As {@link routeToken}. */
export function largestLogits(logits: Float32Array, chosen: number, layer: number): Uint32Array {
  const best: number[] = [];
  for (const [expert, logit] of logits.entries()) {
    if (!Number.isFinite(logit)) throw notFinite(layer, expert, logit);
    if (best.length === chosen && logit <= logits[best.at(-1)!]!) continue;
    let at = best.length;
    while (at > 0 && logits[best[at - 1]!]! < logit) at--;
    best.splice(at, 0, expert);
    if (best.length > chosen) best.pop();
  }
  return Uint32Array.from(best).sort();
}

function notFinite(layer: number, expert: number, logit: number): IntegrityError {
  return new IntegrityError(
    "INTEGRITY_ROUTER",
    `the router of layer ${layer} gives expert ${expert} the logit ${logit}, expected a finite number: weights are damaged; fetch or convert the model again`,
    { details: { layer, expert, logit: String(logit) } },
  );
}
