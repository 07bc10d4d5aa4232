/** DRAM by kind, in bytes: the account that `dramBudgetBytes` is held against. */
export interface DramBytes {
  /** Embeddings, attention, norms, biases, head, record checksums. */
  readonly resident: number;
  readonly predictor: number;
  /** Slots, their biases and bookkeeping. */
  readonly neuronCache: number;
  readonly kvCache: number;
  /** Activation vectors, logits, kernel scratch. */
  readonly activations: number;
  /** Bounce and gap buffers of the flash reader. */
  readonly readBuffers: number;
}

/** The account beside the budget that it is compared with. Bytes. */
export interface DramAccount extends DramBytes {
  readonly budget: number;
  readonly total: number;
}

/** The sum over all kinds. */
export function totalDramBytes(bytes: DramBytes): number {
  return bytes.resident + bytes.predictor + bytes.neuronCache + bytes.kvCache + bytes.activations + bytes.readBuffers;
}

/** Bytes of a kibibyte. */
export const KiB = 1024;
/** Bytes of a mebibyte. */
export const MiB = 1024 * KiB;
/** Bytes of a gibibyte. */
export const GiB = 1024 * MiB;

/** "12.3 MiB": binary units, three significant digits, for messages and tables. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = bytes;
  while (Math.abs(value) >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  if (unit === 0) return `${Math.round(value)} B`;
  return `${value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} ${units[unit]}`;
}
