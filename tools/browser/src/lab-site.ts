/** The lab as built, on a test site. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Site } from "./site.js";

export const labFolder = fileURLToPath(new URL("../../../apps/lab/dist", import.meta.url));

const TYPES: Readonly<Record<string, string>> = { html: "text/html", js: "text/javascript", css: "text/css" };

export function serveLab(site: Site): void {
  for (const file of filesOf(labFolder)) {
    const path = `/${file === "index.html" ? "" : file}`;
    const type = TYPES[file.split(".").at(-1)!];
    if (type === undefined) site.serveFile(path, join(labFolder, file));
    else site.serve(path, type, readFileSync(join(labFolder, file)));
  }
}

/** Paths within a folder. */
export function filesOf(folder: string, prefix = ""): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesOf(path, `${prefix}${name}/`) : [`${prefix}${name}`];
  });
}
