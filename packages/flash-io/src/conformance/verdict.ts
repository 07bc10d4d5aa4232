/** How a reader is judged. */

/** A reader that does not do what the contract says. The message names what was expected and what was found. */
export class ConformanceFailure extends Error {
  override readonly name = "ConformanceFailure";
}

export function expectEqual(what: string, actual: unknown, expected: unknown): void {
  if (Object.is(actual, expected)) return;
  throw new ConformanceFailure(`${what}: expected ${String(expected)}, found ${String(actual)}`);
}

/** Fails unless `work` fails with an error of one of these codes; gives the error. */
export async function expectCode(what: string, work: () => unknown, ...codes: readonly string[]): Promise<Error> {
  const error = await failureOf(what, work);
  const { code } = error as { readonly code?: string };
  if (error instanceof Error && code !== undefined && codes.includes(code)) return error;
  throw new ConformanceFailure(`${what}: expected an error with code ${codes.join(" or ")}, found ${String(error)}`);
}

/** What `work` throws, or rejects with. Fails if it does neither. */
export async function failureOf(what: string, work: () => unknown): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new ConformanceFailure(`${what}: expected an error, found none`);
}
