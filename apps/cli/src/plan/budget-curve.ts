/** Speed over budget: the plan of one model on one device for many budgets. */
import { type Bound, type EngineSettings, planRun } from "@flashwick/cost-model";
import type { PlanSubject, SubjectWish } from "./plan-subject.js";

export interface BudgetPoint {
  readonly budgetBytes: number;
  readonly tokensPerSec: number;
  readonly bound: Bound;
  readonly mode: EngineSettings["mode"];
}

const POINTS = 40;

/** From the smallest budget that works to one that holds everything, evenly. */
export function budgetCurve(
  subject: PlanSubject,
  wish: Omit<SubjectWish, "dramBudgetBytes">,
  smallestBytes: number,
): BudgetPoint[] {
  const most = planRun(subject.request({ ...wish, dramBudgetBytes: null })).memory.dram.budget;
  return Array.from({ length: POINTS }, (_, i) => {
    const budgetBytes = Math.ceil(smallestBytes + ((most - smallestBytes) * i) / (POINTS - 1));
    const { cost, settings } = planRun(subject.request({ ...wish, dramBudgetBytes: budgetBytes }));
    return { budgetBytes, tokensPerSec: cost.tokensPerSec, bound: cost.bound, mode: settings.mode };
  });
}
