/** The panel of a proof: dense beside sparse, and lossless beside dense. */
import { formatBytes } from "@flashwick/core";
import { textNode } from "./drafts-panel.js";
import { element, tableRow } from "./elements.js";
import type { LosslessProof, Proof } from "./messages.js";

/** Fills the panel, and shows it. */
export function showProof(proof: Proof): void {
  const { tokens, agreement, meanKl, sparseBytes, denseBytes, kvPrecision, sparseText, denseText, lossless } = proof;
  element("proof-panel").hidden = false;
  element<HTMLDetailsElement>("proving").open = true;
  const rows = [
    ["tokens compared", `${tokens}`],
    ["same likeliest token", `${(100 * agreement).toFixed(1)} %`],
    ["divergence (KL)", `${meanKl.toPrecision(3)} nat`],
    ["read per token, sparse", formatBytes(sparseBytes)],
    ["read per token, every neuron", formatBytes(denseBytes)],
    ["keys and values, in all runs", kvPrecision],
  ];
  element("proof").replaceChildren(...rows.map((cells) => tableRow(cells)));
  element("sparse-text").textContent = sparseText;
  element("dense-text").textContent = denseText;
  showLosslessProof(lossless);
}

function showLosslessProof(lossless: LosslessProof | null): void {
  const verdict = element("lossless-verdict");
  element("lossless-sides").hidden = element("lossless-table").hidden = lossless === null;
  if (lossless === null) {
    verdict.dataset.equal = "";
    verdict.textContent = "No lossless run: the sparse path drafts for it, and this model has no predictor here.";
    return;
  }
  const { tokens, equalTokens, drafted, accepted, steps, bytesPerToken, pieces, denseText } = lossless;
  const isEqual = equalTokens === tokens;
  verdict.dataset.equal = `${isEqual}`;
  verdict.textContent = isEqual
    ? `✓ Lossless: all ${tokens} tokens are the dense model's.`
    : `✗ Not lossless: token ${equalTokens + 1} of ${tokens} is another than the dense model's. This should not happen; please report it.`;
  const rows = [
    ["drafts accepted", `${accepted} of ${drafted}`],
    ["tokens per step", ((accepted + steps) / Math.max(1, steps)).toFixed(2)],
    ["read per token, lossless", formatBytes(bytesPerToken)],
  ];
  element("lossless-table")
    .querySelector("tbody")!
    .replaceChildren(...rows.map((cells) => tableRow(cells)));
  element("lossless-text").replaceChildren(...pieces.map(({ text, isDraft }) => textNode(text, isDraft)));
  element("dense-alone-text").textContent = denseText;
}
