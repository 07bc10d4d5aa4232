/**
 * Server-sent events, pulled by whoever reads them: a reader that takes nothing keeps the source waiting, and one that takes nothing for too
 * long is given up. https://html.spec.whatwg.org/multipage/server-sent-events.html
 */

export interface EventStreamOptions {
  /** A comment keeps the connection alive while no event comes: proxies close silent ones after a minute. */
  readonly pingMs: number;
  /** How long a reader may take nothing. */
  readonly stallMs: number;
  /** The reader is gone, or given up: whoever makes events can stop. It may be called twice. */
  readonly onAbandoned: () => void;
  /** Breaks the connection of a reader that is given up. Default: the stream fails, and the platform does with the connection what it does then. */
  readonly disconnect?: (() => void) | undefined;
}

const PING = ": waiting\n\n";
const encoder = new TextEncoder();

/** One event of a stream. @param data JSON, or a word: it has no line breaks. @param name Default: none. */
export function serverSentEvent(data: string, name?: string): string {
  return `${name === undefined ? "" : `event: ${name}\n`}data: ${data}\n\n`;
}

/** @param events Texts of whole events. The generator is returned early if the reader goes. */
export function eventStream(events: AsyncGenerator<string, void>, options: EventStreamOptions): ReadableStream {
  const { pingMs, stallMs, onAbandoned, disconnect } = options;
  let stall: ReturnType<typeof setTimeout> | undefined;
  let ping: ReturnType<typeof setInterval> | undefined;
  const abandon = async () => {
    clearTimeout(stall);
    clearInterval(ping);
    // First: the source may be in the middle of a token, and returns only after that.
    onAbandoned();
    await events.return();
  };
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      clearTimeout(stall);
      ping = setInterval(() => controller.enqueue(encoder.encode(PING)), pingMs);
      const { done, value } = await events.next().finally(() => clearInterval(ping));
      if (done) {
        controller.close();
        return;
      }
      controller.enqueue(encoder.encode(value));
      stall = setTimeout(() => {
        if (disconnect) disconnect();
        else controller.error(new Error(`the reader took nothing for ${stallMs} ms`));
        void abandon();
      }, stallMs);
    },
    cancel: abandon,
  });
}
