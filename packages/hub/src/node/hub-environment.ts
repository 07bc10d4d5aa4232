/** What the environment says of the hub, by the names that huggingface_hub gave them: other programs' settings and cache are this one's. */
import { join } from "node:path";

/** What the environment says of hubs, tokens and caches. */
export interface HubEnvironment {
  /** `HF_ENDPOINT`; null: the hub itself. */
  readonly endpoint: string | null;
  /** `HF_TOKEN`. */
  readonly token: string | null;
  /** The hub's cache: `HF_HUB_CACHE`, or `hub` in `HF_HOME`. It may not be there. */
  readonly cacheFolder: string;
}

/**
 * Which hub, token and cache a process is to use.
 *
 * @param env  The process's environment.
 * @param home The user's home folder.
 */
export function hubEnvironment(env: Readonly<Record<string, string | undefined>>, home: string): HubEnvironment {
  const cache = env.XDG_CACHE_HOME || join(home, ".cache");
  const hubHome = env.HF_HOME || join(cache, "huggingface");
  return {
    endpoint: env.HF_ENDPOINT || null,
    token: env.HF_TOKEN?.trim() || null,
    cacheFolder: env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(hubHome, "hub"),
  };
}
