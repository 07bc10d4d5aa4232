/** What every test of the lab begins and ends with: the site is served, each visit has a profile of its own, and none leaves a complaint. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { serveLab } from "./lab-site.js";
import { visitLab } from "./lab-visit.js";
import { openSite, type Site } from "./site.js";

export type VisitOptions = Parameters<typeof visitLab>[3];

export interface LabTests {
  /** There once hooks run. */
  readonly site: Site;
  /** For files of the tests' own; removed after the last. */
  readonly folder: string;
  /** Of the last visit. */
  readonly context: BrowserContext;
  visit(options?: VisitOptions): Promise<Page>;
}

/** Adds the hooks to the `describe` that it is called in. @param name Of the folder. */
export function useLab(name: string): LabTests {
  let site: Site;
  let folder: string;
  let visits = 0;
  let context: BrowserContext;
  let complaints: string[];
  beforeAll(async () => {
    site = await openSite();
    serveLab(site);
    folder = mkdtempSync(join(tmpdir(), `flashwick-${name}-`));
  }, 120_000);
  afterAll(async () => {
    await site?.close();
    rmSync(folder, { recursive: true });
  });
  beforeEach(() => {
    site.isolated = true;
    complaints = [];
  });
  afterEach(async () => {
    // A test may look at the site's files alone.
    await context?.close();
    expect(complaints).toEqual([]);
  });
  return {
    get site() {
      return site;
    },
    get folder() {
      return folder;
    },
    get context() {
      return context;
    },
    async visit(options = {}) {
      const visit = await visitLab(site.origin, join(folder, `profile-${visits++}`), complaints, options);
      context = visit.context;
      return visit.page;
    },
  };
}
