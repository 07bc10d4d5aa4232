/** The answer to a request for texts: one document, or a stream of events. */
import type { AnswerForm, AnswerHead, AnswerStream } from "./answer-form.js";
import { toApiError } from "./api-error.js";
import type { ServedModel } from "./served-model.js";
import type { TextRun } from "./text-run.js";

/** @param prefix Of the answer's own name: `chatcmpl-`, `cmpl-` or `resp_`. */
export function answerHead(served: ServedModel, prefix: string, nowSeconds: number): AnswerHead {
  return {
    id: `${prefix}${crypto.randomUUID()}`,
    created: Math.floor(nowSeconds),
    model: served.name,
    system_fingerprint: served.fingerprint,
  };
}

/** @throws What ends the run early. */
export async function wholeAnswer(run: TextRun, form: AnswerForm, head: AnswerHead): Promise<object> {
  const texts = await run.finish();
  return form.document(head, texts, run.usage);
}

/**
 * The events of a stream.
 *
 * @param onEnd Called once, however the stream ends, before its last events; with the failure, if that is how.
 */
export async function* answerEvents(
  run: TextRun,
  stream: AnswerStream,
  onEnd: (failure?: unknown) => void,
): AsyncGenerator<string, void> {
  let failure: unknown;
  let last: readonly string[];
  try {
    yield* stream.opening();
    for await (const event of run.events()) yield* stream.take(event);
    last = stream.closing(run.usage);
  } catch (error) {
    failure = error;
    last = stream.failure(toApiError(error));
  } finally {
    await run.end();
    onEnd(failure);
  }
  yield* last;
}
