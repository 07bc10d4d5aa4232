/** One thing that a machine has or lacks. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** What is there, in words; of what failed, why. */
  readonly found: string;
  /** What it is good for where it is there; what it would bring where it is missing. */
  readonly brings: string;
}

/** The check of something that may throw: then its error is what was found. */
export async function checkOf(name: string, brings: string, look: () => string | Promise<string>): Promise<Check> {
  try {
    return { name, ok: true, found: await look(), brings };
  } catch (error) {
    return { name, ok: false, found: (error as Error).message, brings };
  }
}
