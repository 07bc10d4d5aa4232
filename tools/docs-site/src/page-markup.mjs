// @ts-check
/** What pages have beyond typedoc's own markup: diagrams as pictures, tables that a keyboard can scroll, and what some browsers or readers stumble over. */
import { renderMermaidSVG } from "beautiful-mermaid";
import { PageEvent } from "typedoc";

const COLOURS = { bg: "var(--color-background)", fg: "var(--color-text)", transparent: true };
/** What the package would fetch; the page's own font does. */
const FONT_IMPORT = /@import url\([^)]*\);?/g;

/** @param {any} parser  A markdown-it, as typedoc has made it. */
export function extendMarkdown(parser) {
  const { rules } = parser.renderer;
  const { fence } = rules;
  rules.fence = (/** @type {any[]} */ ...operands) => {
    const [tokens, index] = operands;
    const { info, content } = tokens[index];
    return info.trim() === "mermaid" ? drawDiagram(content) : fence(...operands);
  };
  // A wide table scrolls by itself (site.css), which a keyboard can do only where it can go.
  rules.table_open = () => '<table tabindex="0">\n';
}

/** @param {string} text */
function drawDiagram(text) {
  const svg = renderMermaidSVG(text, COLOURS).replace(FONT_IMPORT, "");
  return `<div class="diagram" tabindex="0" role="img" aria-label="Diagram">${svg}</div>\n`;
}

/**
 * A link within a summary is two switches in one place: the heading keeps its place, and loses the link to itself. Icons are in every page once its
 * scripts have run, so that they need no file of their own, which a page that is opened without a server may not read.
 *
 * @param {import("typedoc").Application} app
 */
export function simplifyPages(app) {
  app.renderer.on(PageEvent.END, (page) => {
    page.contents = page.contents
      ?.replace(/<summary\b[\s\S]*?<\/summary>/g, (summary) =>
        summary.replace(/<a [^>]*class="tsd-anchor-icon"[\s\S]*?<\/a>/g, ""),
      )
      .replace(/href="[^"]*assets\/icons\.svg#/g, 'href="#');
  });
}
