/** What one decoded token costs: a pass over one token (pass-cost.ts). */
import type { PassCost } from "./cost-figures.js";
import { passCost } from "./pass-cost.js";
import type { TokenRequest } from "./pass-request.js";

/** Milliseconds unless the name says otherwise. */
export type TokenCost = PassCost;

/** Expected cost of one token. */
export function tokenCost(request: TokenRequest): TokenCost {
  return passCost(request, 1);
}
