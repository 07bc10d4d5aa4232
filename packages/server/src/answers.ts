/** The answer to a request for texts: one document, or a stream of chunks. */
import type { AnswerForm, AnswerHead } from "./answer-form.js";
import { toApiError } from "./api-error.js";
import { serverSentEvent } from "./event-stream.js";
import type { ServedModel } from "./served-model.js";
import type { TextRun } from "./text-run.js";

/** @param prefix Of the answer's own name: `chatcmpl` or `cmpl`. */
export function answerHead(served: ServedModel, prefix: string, nowSeconds: number): AnswerHead {
  return {
    id: `${prefix}-${crypto.randomUUID()}`,
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
 * The chunks of a stream, as events. A failure half-way is an event, too: its status has been sent long before.
 *
 * @param texts  How many there are.
 * @param onEnd  Called once, however the stream ends; with the failure, if that is how.
 */
export async function* answerEvents(
  run: TextRun,
  form: AnswerForm,
  head: AnswerHead,
  texts: number,
  includesUsage: boolean,
  onEnd: (failure?: unknown) => void,
): AsyncGenerator<string, void> {
  let failure: unknown;
  try {
    for (const chunk of openings(form, head, texts)) yield chunkEvent(chunk);
    for await (const event of run.events()) {
      const { index } = event;
      if ("piece" in event) yield chunkEvent(form.piece(head, index, event.piece));
      else yield chunkEvent(form.ending(head, index, event.calls, event.finishReason));
    }
    if (includesUsage) yield chunkEvent(form.usage(head, run.usage));
  } catch (error) {
    failure = error;
    yield chunkEvent(toApiError(error).document);
  } finally {
    await run.end();
    onEnd(failure);
  }
  yield serverSentEvent("[DONE]");
}

function openings(form: AnswerForm, head: AnswerHead, texts: number): object[] {
  return Array.from({ length: texts }, (_, index) => form.opening(head, index)).filter((chunk) => chunk !== null);
}

function chunkEvent(chunk: object): string {
  return serverSentEvent(JSON.stringify(chunk));
}
