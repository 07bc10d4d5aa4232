/** The page as text: it shows what it is given, as text, and asks for nothing from elsewhere. What it looks like is tested in a browser. */
import { expect, it } from "vitest";
import { runPage } from "./run-page.js";
import type { RunReport } from "./run-report.js";

const report: RunReport = {
  title: "tiny.gguf",
  summary: "1 MiB on flash",
  prompt: "In the",
  text: " beginning",
  figures: [["speed", "12 tokens/s"]],
  map: { unit: "neuron", nLayers: 1, dFf: 4, unitsByLayer: [4] },
  steps: [
    {
      ...{ text: " beginning", drafts: [], accepted: 0, ms: 1.23456789, phaseMs: { ffn: 1.2 }, spans: [], passes: [] },
      ...{ flashBytes: 512, flashReads: 1, hits: 1, misses: 1, isNamed: true, states: "Gw==" },
    },
  ],
  stepsBefore: 0,
  comparison: [
    { name: "predicted", phaseMs: { ffn: 1 }, tokenMs: 1 },
    { name: "measured", phaseMs: { ffn: 1.2, other: 0.03 }, tokenMs: 1.23 },
  ],
  comparisonText: "by a profile",
};

function carried(page: string): unknown {
  return JSON.parse(/<script type="application\/json" id="run">(.*?)<\/script>/s.exec(page)![1]!);
}

it("carries the run, with digits that pictures can show", () => {
  const [step] = report.steps;
  expect(carried(runPage(report))).toEqual({ ...report, steps: [{ ...step, ms: 1.2346 }] });
});

it("names nothing that it would have to load, and forbids itself to", () => {
  const page = runPage(report);
  expect(page).toContain("default-src 'none'");
  expect(page).not.toMatch(/https?:|\bsrc=|@import|url\(/);
});

it("shows markup in a model's text as text, and lets none of it end the script", () => {
  const hostile = "</script><script>alert(1)</script><img src=x onerror=alert(1)>&";
  const page = runPage({ ...report, title: hostile, prompt: hostile, text: hostile, figures: [[hostile, hostile]] });
  expect(page.match(/<script/g)).toHaveLength(2);
  expect(page).not.toContain("<img");
  expect(carried(page)).toMatchObject({ text: hostile });
});

it("has a table of the comparison, and says why where there is none", () => {
  expect(runPage(report)).toContain('<tr><th scope="row">FFN</th><td>1.00</td><td>1.20</td></tr>');
  const page = runPage({ ...report, comparison: null, comparisonText: "nothing is known" });
  expect(page).not.toContain("<table>");
  expect(page).toContain("nothing is known");
});

it("leaves out the pictures of a run that decoded nothing, and the map where nothing has a number", () => {
  expect(runPage({ ...report, steps: [] })).not.toContain('id="timeline"');
  expect(runPage({ ...report, map: null })).not.toContain('id="map"');
});
