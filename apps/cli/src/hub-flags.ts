/** The flags of commands that talk to a hub, and which names mean one. Loads no client of a hub: most plans need none. */
import { existsSync } from "node:fs";

export interface HubFlags {
  readonly revision?: string;
  readonly endpoint?: string;
}

export const HUB_FLAGS = {
  revision: ["--revision <name>", "branch, tag or commit of the repository (default: main)"],
  endpoint: ["--endpoint <url>", "hub or mirror (default: HF_ENDPOINT, else https://huggingface.co)"],
} as const;

/** Whether a name that is no file here is taken for `<owner>/<repository>/<file>.gguf`. */
export function isHubFile(what: string): boolean {
  return /^[^./][^/]*\/[^/]+\/.*\.gguf$/.test(what) && !existsSync(what) && !existsSync(what.split("/", 1)[0]!);
}
