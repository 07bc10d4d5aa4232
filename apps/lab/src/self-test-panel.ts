/** The line and the table of the self-test: which kernels of this browser were tested, and what failed. */
import { element } from "./elements.js";
import type { KernelTest, SelfTest } from "./messages.js";

let line = "not finished";

/** For a saved result. */
export function selfTestLine(): string {
  return line;
}

export function showSelfTest({ kernels, ms }: SelfTest): void {
  const failing = kernels.filter(({ failures }) => failures.length > 0);
  const cases = kernels.reduce((sum, kernel) => sum + kernel.cases, 0);
  line =
    failing.length === 0
      ? `✓ ${kernels.map(({ op }) => op).join(", ")}: ${cases} cases as they must be, in ${(ms / 1000).toFixed(2)} s`
      : `✗ ${failing.map(({ op }) => op).join(", ")} compute wrongly in this browser: models that need them are refused`;
  const text = element("kernels-line");
  text.dataset.ok = `${failing.length === 0}`;
  text.textContent = failing.length === 0 ? shortLine(kernels, cases, ms) : line;
  if (failing.length > 0) element<HTMLDetailsElement>("kernels").open = true;
  element("kernels-list").replaceChildren(
    ...kernels.map((kernel) => {
      const item = document.createElement("li");
      item.textContent = `${kernel.op}: ${resultText(kernel)}`;
      return item;
    }),
  );
}

/** As many names as one line holds; the list has them all. */
function shortLine(kernels: readonly KernelTest[], cases: number, ms: number): string {
  const named = kernels.slice(0, NAMED).map(({ op }) => op);
  return `✓ ${named.join(", ")} and ${kernels.length - NAMED} more kernels: ${cases} cases right, ${(ms / 1000).toFixed(2)} s`;
}

const NAMED = 2;

function resultText({ cases, failures }: KernelTest): string {
  if (failures.length === 0) return `${cases} right`;
  return failures.map(({ title, message }) => `${title}: ${message}`).join("; ");
}
