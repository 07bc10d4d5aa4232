/** One buffer for many uses, so that blocks do not wait for the garbage collector. What `take` gave is void at the next call. */
export class ReusedBytes {
  #bytes = new Uint8Array(0);

  take(sizeBytes: number): Uint8Array {
    if (this.#bytes.byteLength < sizeBytes) this.#bytes = new Uint8Array(sizeBytes);
    return this.#bytes.subarray(0, sizeBytes);
  }

  takeFloats(count: number): Float32Array {
    return new Float32Array(this.take(count * Float32Array.BYTES_PER_ELEMENT).buffer, 0, count);
  }
}
