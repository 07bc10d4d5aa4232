// @ts-check
/** The links of a static site that lead nowhere: to no file of the site, or to no place in a page. Addresses elsewhere are not asked for. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";

/** @typedef {{ readonly page: string, readonly link: string, readonly reason: string }} BrokenLink */

const ELSEWHERE = /^(?:[a-z]+:|\/\/)/i;

/** @param {string} folder  Of the site. @returns {BrokenLink[]} By page. */
export function brokenLinks(folder) {
  const places = new Map(htmlFiles(folder).map((path) => [path, placesIn(readFileSync(path, "utf8"))]));
  return [...places.keys()].flatMap((path) =>
    linksIn(readFileSync(path, "utf8")).flatMap((link) => {
      const reason = reasonOf(path, link, places);
      return reason === null ? [] : [{ page: relative(folder, path), link, reason }];
    }),
  );
}

/** @param {string} path @param {string} link @param {ReadonlyMap<string, ReadonlySet<string>>} places @returns {string | null} */
function reasonOf(path, link, places) {
  if (ELSEWHERE.test(link)) return null;
  const [file = "", place = ""] = decodeURI(link).split("#");
  const target = file === "" ? path : join(dirname(path), file);
  if (!existsSync(target)) return "no such file";
  if (statSync(target).isDirectory()) return "a folder, expected a file";
  const known = places.get(target);
  return place === "" || !known || known.has(place) ? null : `no place "${place}" in that page`;
}

/** @param {string} html @returns {string[]} */
function linksIn(html) {
  return [...html.matchAll(/<(?:a|link|script|img)\b[^>]*?\s(?:href|src)="([^"]*)"/g)].map(([, link = ""]) =>
    unescapeHtml(link),
  );
}

/** @param {string} html @returns {Set<string>} */
function placesIn(html) {
  return new Set([...html.matchAll(/\s(?:id|name)="([^"]*)"/g)].map(([, id = ""]) => unescapeHtml(id)));
}

/** @param {string} text */
function unescapeHtml(text) {
  return text.replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

/** @param {string} folder @returns {string[]} */
function htmlFiles(folder) {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".html"))
    .map((name) => join(folder, name));
}
