/**
 * The memory through which compute threads meet: one SharedArrayBuffer for a pool.
 *
 *   word 0  TICKET    [ number of the op : 22 bits | chunks that nobody has taken : 10 bits ]
 *       16  MESSAGES  how many messages (arenas, releases) have been posted to every worker
 *       17  SLEEPERS  workers in, or on their way into, Atomics.wait on TICKET
 *       18  FAILED    the worker that failed, 0 for none; 19: length of its message, bytes
 *       32  DONE      chunks that workers have finished; 33: CALLER_WAITS, 1 while the caller sleeps on DONE
 *   byte  256  the op: see the ORDER_… offsets and ARGUMENTS, f64
 *   byte 1024  the failure's message, UTF-8
 *
 * Invariants. The op is written only while no chunk of the op before is taken or left, and a chunk is taken by one
 * compare-and-exchange of TICKET: so whoever takes one reads the op afterwards, and it stays until the chunk is counted in
 * DONE. A worker that wakes late finds nothing left and disturbs nobody; nobody waits for a worker that took nothing.
 * What is posted is posted before TICKET changes, and workers look at MESSAGES after TICKET: whoever sees an op has seen its arena.
 *
 * Plain JavaScript, like everything that workers run: Node 20 cannot run TypeScript, and the tests run on the sources.
 */

export const TICKET = 0;
export const MESSAGES = 16;
export const SLEEPERS = 17;
export const FAILED = 18;
export const FAILURE_BYTES = 19;
export const DONE = 32;
export const CALLER_WAITS = 33;

/** Low bits of TICKET: chunks left. */
export const LEFT_BITS = 10;
export const MOST_CHUNKS = 2 ** LEFT_BITS - 1;

/** Offsets into the op, f64 each. */
export const ORDER_OP = 0;
export const ORDER_ARENA = 1;
/** Rows, neurons, columns, heads or slots [begin, end), in chunks of so many. */
export const ORDER_BEGIN = 2;
export const ORDER_END = 3;
export const ORDER_CHUNK = 4;
export const ORDER_CHUNKS = 5;
/** Scratch of thread 0, and bytes from one thread's to the next. */
export const ORDER_SCRATCH = 6;
export const ORDER_SCRATCH_STRIDE = 7;
/** The export's other arguments, in order. */
export const ARGUMENTS = 8;

export const LINEAR = 0;
export const FFN_UP = 1;
export const FFN_DOWN = 2;
export const ATTENTION = 3;
export const CRC32C_SLOTS = 4;
export const READ_LOOP = 5;
export const FFN_UP_GATED = 6;
export const GATE = 7;

const ORDER_OFFSET_BYTES = 256;
const ORDER_LENGTH = 32;
const TEXT_OFFSET_BYTES = 1024;
const TEXT_BYTES = 1024;
export const CONTROL_BYTES = TEXT_OFFSET_BYTES + TEXT_BYTES;

/** Views of a control block. */
export function viewControl(buffer) {
  return {
    words: new Int32Array(buffer, 0, 64),
    order: new Float64Array(buffer, ORDER_OFFSET_BYTES, ORDER_LENGTH),
    text: new Uint8Array(buffer, TEXT_OFFSET_BYTES, TEXT_BYTES),
  };
}

/** Chunks left, as TICKET says. */
export function chunksLeft(ticket) {
  return ticket & MOST_CHUNKS;
}

/**
 * Takes the chunk that `ticket`, just loaded, offers.
 *
 * @returns False if someone else was faster.
 */
export function takeChunk(words, ticket) {
  return Atomics.compareExchange(words, TICKET, ticket, ticket - 1) === ticket;
}

/** Runs the chunk that `left` (chunks left before it was taken) stands for. */
export function runChunk(order, wasm, thread, left) {
  const begin = order[ORDER_BEGIN] + (order[ORDER_CHUNKS] - left) * order[ORDER_CHUNK];
  const end = Math.min(begin + order[ORDER_CHUNK], order[ORDER_END]);
  const scratch = order[ORDER_SCRATCH] + thread * order[ORDER_SCRATCH_STRIDE];
  const a = order;
  const i = ARGUMENTS;
  switch (order[ORDER_OP]) {
    case LINEAR:
      // biome-ignore format: as the export is declared
      wasm.linear(
        a[i], a[i + 1], a[i + 2], a[i + 3], a[i + 4], a[i + 5], a[i + 6], a[i + 7], a[i + 8],
        scratch, begin, end,
      );
      break;
    case FFN_UP:
      // biome-ignore format: as the export is declared
      wasm.ffnUp(
        a[i], a[i + 1], a[i + 2], a[i + 3], a[i + 4], a[i + 5], a[i + 6], a[i + 7], a[i + 8],
        a[i + 9], a[i + 10], a[i + 11], a[i + 12], scratch, begin, end,
      );
      break;
    case FFN_UP_GATED:
      // biome-ignore format: as the export is declared
      wasm.ffnUpGated(
        a[i], a[i + 1], a[i + 2], a[i + 3], a[i + 4], a[i + 5], a[i + 6], a[i + 7], a[i + 8],
        a[i + 9], a[i + 10], a[i + 11], a[i + 12], a[i + 13], a[i + 14], a[i + 15], scratch, begin, end,
      );
      break;
    case FFN_DOWN:
      // biome-ignore format: as the export is declared
      wasm.ffnDown(
        a[i], a[i + 1], a[i + 2], a[i + 3], a[i + 4], a[i + 5], a[i + 6], a[i + 7], a[i + 8],
        a[i + 9], begin, end,
      );
      break;
    case ATTENTION:
      // biome-ignore format: as the export is declared
      wasm.attention(
        a[i], a[i + 1], a[i + 2], a[i + 3], a[i + 4], a[i + 5], a[i + 6], a[i + 7], a[i + 8],
        a[i + 9], a[i + 10], a[i + 11], a[i + 12], a[i + 13], scratch, begin, end,
      );
      break;
    case GATE: {
      const [act, gate, up] = [a[i] + 4 * begin, a[i + 1] + 4 * begin, a[i + 2] + 4 * begin];
      wasm.gate(act, gate, up, end - begin, a[i + 3], a[i + 4], a[i + 5]);
      break;
    }
    case CRC32C_SLOTS:
      wasm.crc32cSlots(a[i], a[i + 1], a[i + 2], a[i + 3], a[i + 4], begin, end);
      break;
    case READ_LOOP:
      wasm.readLoop(a[i] + begin, end - begin);
      break;
  }
}
