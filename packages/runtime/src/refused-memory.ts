/** Memory beside the arenas that the platform has not given: JavaScript says so with an error of its own. */
import { UnsupportedError } from "@flashwick/core";

/** What V8, SpiderMonkey and JavaScriptCore say of an array buffer that they cannot allocate. */
const REFUSED = /array buffer allocation|allocation failed|out of memory|could not allocate memory/i;

/** A typed error in the place of the platform's that says that memory was refused; any other error as it is. */
export function typedIfRefused(error: unknown): unknown {
  if (!(error instanceof RangeError) || !REFUSED.test(error.message)) return error;
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `the platform refused memory beside the arenas (${error.message}); free some, or give the model a smaller budget`,
    { cause: error },
  );
}
