/** In a worker: reads of synchronous handles go wrong, as shared memory says which and how. */
import { FAULT_KINDS, SharedFaults } from "@flashwick/flash-io/conformance";

type Read = (this: unknown, buffer: Uint8Array, options: { readonly at: number }) => number;

/** From now on, in this worker. @param words As `SharedFaults` has them. */
export function makeHandlesFail(words: Int32Array): () => void {
  const faults = new SharedFaults(words, FAULT_KINDS);
  const { prototype } = (globalThis as unknown as { FileSystemSyncAccessHandle: { prototype: { read: Read } } })
    .FileSystemSyncAccessHandle;
  const { read } = prototype;
  prototype.read = function (buffer, options) {
    const kind = faults.strike();
    if (kind === "device-error") throw new DOMException("the device has failed", "InvalidStateError");
    return faults.spoil(kind, [buffer], read.call(this, buffer, options));
  };
  return () => {
    prototype.read = read;
  };
}
