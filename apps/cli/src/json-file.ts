/** JSON that a command is given as a file. */
import { readFile } from "node:fs/promises";
import { InputError } from "@flashwick/core";
import { type DeviceProfile, parseDeviceProfile } from "@flashwick/cost-model";

/** @throws {InputError} naming the file, where it cannot be read or holds no JSON. @param maker Who writes such files. */
export async function readJson(path: string, maker: string): Promise<unknown> {
  const text = await readFile(path, "utf8").catch((cause: Error) => {
    throw new InputError("INPUT_INVALID", `${path}: cannot be read (${cause.message})`, { cause });
  });
  try {
    return JSON.parse(text);
  } catch (cause) {
    const message = `${path}: expected JSON (${(cause as Error).message}); write it with ${maker}`;
    throw new InputError("INPUT_INVALID", message, { cause });
  }
}

/** What `flashwick profile -o` has written. @throws {InputError} naming file and field. */
export async function readDeviceProfile(path: string): Promise<DeviceProfile> {
  return parseDeviceProfile(await readJson(path, "flashwick profile -o"), path);
}
