/**
 * The page of a run, as one HTML document that needs nothing else: text, figures, a bar a token, the map of what each token used, and what was
 * predicted beside what was measured. Its script and its style are inlined (scripts/build-page-script.mjs); its policy lets it load nothing.
 */
import { PAGE_SCRIPT, PAGE_STYLE } from "../generated/page.js";
import { PHASES } from "../phases.js";
import type { RunReport } from "./run-report.js";

/**
 * @returns The document. Whatever the texts contain is shown as text.
 * Cost: the report as JSON, and 20 KiB.
 */
export function runPage(report: RunReport): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>${escapeHtml(report.title)} · flashwick</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<header>
<h1>${escapeHtml(report.title)}</h1>
<p class="quiet">${escapeHtml(report.summary)}</p>
</header>
<main>
${[textSection(report), figureSection(report), stepSection(report), mapSection(report), comparisonSection(report)].join("\n")}
</main>
<footer><p class="quiet">Made by flashwick run --report. This page carries everything that it shows, and loads nothing.</p></footer>
<script type="application/json" id="run">${scriptJson(report)}</script>
<script>${PAGE_SCRIPT}</script>
</body>
</html>
`;
}

function textSection({ prompt, text }: RunReport): string {
  return section(
    "text",
    "Text",
    `<p id="said" class="said"><span class="prompt">${escapeHtml(prompt)}</span>${escapeHtml(text)}</p>`,
  );
}

function figureSection({ figures }: RunReport): string {
  const rows = figures.map(([name, value]) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd>`);
  return section("figures", "Figures", `<dl>${rows.join("")}</dl>`);
}

function stepSection({ steps, stepsBefore }: RunReport): string {
  if (steps.length === 0) return "";
  const before = stepsBefore > 0 ? ` The ${stepsBefore} steps before the first of them are not kept.` : "";
  return section(
    "steps",
    "A token's time",
    `<canvas id="timeline" role="img" aria-label="Milliseconds of each token by phase; those of the chosen one are in words below"></canvas>
${legend(PHASES.map(({ name, colour }) => [name, colour]))}
<p class="quiet">Choose a token with the slider, or with a click on its bar.${before}</p>
<div class="choose"><label for="step">Step <span id="step-number"></span></label><input id="step" type="range" min="0" max="${steps.length - 1}" value="${steps.length - 1}"></div>
<p id="step-text" role="status"></p>
<canvas id="spans" role="img" aria-label="The chosen step: phases of computing above, reads in flight below; its figures are in the text above"></canvas>`,
  );
}

/** The words and the colours of a map, by `STATE`. */
const STATE_NAMES = [
  ["on flash", "var(--away)"],
  ["in DRAM", "var(--resident)"],
  ["used", "var(--awake)"],
  ["used, had to be read", "var(--fetched)"],
] as const;

function mapSection({ map, steps }: RunReport): string {
  if (map === null || steps.length === 0) return "";
  const name = map.unit === "expert" ? "Experts" : "Neurons";
  return section(
    "units",
    `${name}, layer by layer`,
    `<canvas id="map" role="img" aria-label="Map of layers and their ${name.toLowerCase()} at the chosen step; it is summed up below"></canvas>
${legend(STATE_NAMES)}
<p id="map-text" class="quiet" role="status"></p>`,
  );
}

function comparisonSection({ comparison, comparisonText }: RunReport): string {
  const text = `<p class="quiet">${escapeHtml(comparisonText)}</p>`;
  if (comparison === null) return section("comparison", "Predicted beside measured", text);
  const rows = PHASES.filter(({ key }) => comparison.some(({ phaseMs }) => (phaseMs[key] ?? 0) > 0)).map(
    ({ key, name }) =>
      comparisonRow(
        name,
        comparison.map(({ phaseMs }) => phaseMs[key]),
      ),
  );
  const total = comparisonRow(
    "a token",
    comparison.map(({ tokenMs }) => tokenMs),
  );
  const heads = comparison.map(({ name }) => `<th scope="col">${escapeHtml(name)}</th>`).join("");
  return section(
    "comparison",
    "Predicted beside measured",
    `<canvas id="comparison" role="img" aria-label="A token's time by phase, predicted and measured; the table below has the figures"></canvas>
<div class="scroll"><table><thead><tr><th scope="col">milliseconds</th>${heads}</tr></thead><tbody>${rows.join("")}${total}</tbody></table></div>
${text}`,
  );
}

function comparisonRow(name: string, values: readonly (number | undefined)[]): string {
  const cells = values.map((value) => `<td>${value === undefined ? "–" : value.toFixed(2)}</td>`).join("");
  return `<tr><th scope="row">${escapeHtml(name)}</th>${cells}</tr>`;
}

function section(id: string, title: string, content: string): string {
  return `<section class="panel" aria-labelledby="h-${id}">\n<h2 id="h-${id}">${title}</h2>\n${content}\n</section>`;
}

function legend(items: readonly (readonly [string, string])[]): string {
  const list = items.map(([name, colour]) => `<li><i class="swatch" style="background:${colour}"></i>${name}</li>`);
  return `<ul class="legend">${list.join("")}</ul>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character]!);
}

/** JSON that ends no script element, whatever its texts say; numbers have no more digits than pictures show. */
function scriptJson(value: unknown): string {
  const rounded = (_: string, item: unknown) => (typeof item === "number" ? Math.round(item * 1e4) / 1e4 : item);
  return JSON.stringify(value, rounded).replaceAll("<", "\\u003c");
}
