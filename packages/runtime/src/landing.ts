/** The end of reads that nobody wants any more: a reader does one batch at a time, and an arena is released only when none flies. */
import type { FlashReader } from "@flashwick/flash-io";

/** After a failure: returns when no read is in flight. That reading fails too does not matter then; the first error is thrown. */
export async function landAll(reader: FlashReader): Promise<void> {
  try {
    await reader.wait();
  } catch {
    // Whatever `wait` throws, no read is in flight any more.
  }
}
