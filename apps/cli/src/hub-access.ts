/** A hub as the flags and the environment name it. */
import { homedir } from "node:os";
import { type HubRepository, type ModelAddress, openRepository, parseModelAddress } from "@flashwick/hub";
import { type HubEnvironment, hubEnvironment } from "@flashwick/hub/node";
import { UsageError } from "./failure.js";
import type { HubFlags } from "./hub-flags.js";
import type { Terminal } from "./terminal.js";

export function environmentOf({ env }: Terminal): HubEnvironment {
  return hubEnvironment(env, homedir());
}

/** @throws {UsageError} for what is no address. */
export function hubAddress(text: string): ModelAddress {
  try {
    return parseModelAddress(text);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** @throws As `openRepository`. */
export async function openHubRepository(
  name: string,
  { revision, endpoint }: HubFlags,
  terminal: Terminal,
): Promise<HubRepository> {
  const { endpoint: usual, token } = environmentOf(terminal);
  return await openRepository(name, {
    revision,
    endpoint: endpoint ?? usual ?? undefined,
    token,
    signal: terminal.signal,
  });
}
