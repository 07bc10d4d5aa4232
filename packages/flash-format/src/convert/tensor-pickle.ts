/**
 * The pickle inside a PyTorch weights file, read as data.
 *
 * A pickle is a program for a stack machine whose GLOBAL and REDUCE instructions may name and call anything; that is how hostile
 * weights files run code. This machine executes nothing: the ten-odd globals that `torch.save(state_dict)` writes are names in a table,
 * calling one builds a plain description, and every other global, call or instruction is an error. As in torch.load(weights_only=True).
 *
 * Invariants: work and memory are bounded, since instructions are counted and each makes at most one value; shared values stay
 * shared, nothing is copied or visited recursively; counts inside are only compared, never allocated.
 *
 * Why not the npm package pickleparser 0.2.1: it lets the caller resolve globals, but then calls and constructs what stands on its stack
 * (REDUCE, OBJ, INST), copies keys from the file into objects (BUILD), and has neither bounds nor offsets in its errors.
 */
import { FormatError } from "@flashwick/core";
import { elementCount, type SourceDType } from "./checkpoint-tensor.js";

/** A storage by reference: the bytes are the zip entry `data/<key>`. */
export interface PickledStorage {
  readonly kind: "storage";
  /** `torch.HalfStorage` */
  readonly typeName: string;
  readonly dtype: SourceDType | null;
  readonly elementBytes: number;
  readonly key: string;
  readonly elements: number;
}

/** A view of a storage. Offset and strides count elements; the view is inside the storage. */
export interface PickledTensor {
  readonly kind: "tensor";
  readonly storage: PickledStorage;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

type Global = { readonly kind: "global"; readonly name: string };
type List = { readonly kind: "list"; readonly items: Value[] };
type Tuple = readonly Value[];
type Dict = Map<Value, Value>;
type Value = null | boolean | number | string | Tuple | List | Dict | Global | PickledStorage | PickledTensor;

const ORDERED_DICT = "collections.OrderedDict";
const REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2";
/** What a saved `nn.Parameter` is: a tensor, and for the second form attributes that do not matter here. */
const REBUILD_PARAMETER = ["torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"];

/** Storage classes. Those of other types stand in real files (masks, counters) and are refused only when such a tensor is wanted. */
const STORAGES: ReadonlyMap<string, { dtype: SourceDType | null; elementBytes: number }> = new Map([
  ["torch.FloatStorage", { dtype: "f32", elementBytes: 4 }],
  ["torch.HalfStorage", { dtype: "f16", elementBytes: 2 }],
  ["torch.BFloat16Storage", { dtype: "bf16", elementBytes: 2 }],
  ["torch.DoubleStorage", { dtype: null, elementBytes: 8 }],
  ["torch.LongStorage", { dtype: null, elementBytes: 8 }],
  ["torch.IntStorage", { dtype: null, elementBytes: 4 }],
  ["torch.ShortStorage", { dtype: null, elementBytes: 2 }],
  ["torch.CharStorage", { dtype: null, elementBytes: 1 }],
  ["torch.ByteStorage", { dtype: null, elementBytes: 1 }],
  ["torch.BoolStorage", { dtype: null, elementBytes: 1 }],
] as const);

const ADMITTED_GLOBALS: ReadonlySet<string> = new Set([
  ORDERED_DICT,
  REBUILD_TENSOR,
  ...REBUILD_PARAMETER,
  ...STORAGES.keys(),
]);

const MAX_GLOBAL_BYTES = 256;
/** A tensor takes about 35, so this is 14 000 tensors a file; an empty dictionary takes one, and 200 bytes of memory. */
const MAX_INSTRUCTIONS = 500_000;
const MAX_RANK = 8;

/**
 * The tensors of a pickled state dict; entries that are not tensors are left out.
 *
 * @param bytes The whole pickle, protocol 2.
 * @param where For messages: file and entry.
 * @throws {FormatError} `CHECKPOINT_PICKLE`, with the offset, naming the global or instruction that is not admitted.
 */
export function readTensorPickle(bytes: Uint8Array, where: string): ReadonlyMap<string, PickledTensor> {
  const machine = new PickleMachine(bytes, where);
  const top = machine.run();
  if (!(top instanceof Map)) throw machine.refuse("expected a dictionary of tensors at the top");
  const tensors = new Map<string, PickledTensor>();
  for (const [name, value] of top) {
    if (typeof name === "string" && isKind(value, "tensor")) tensors.set(name, value);
  }
  return tensors;
}

/** The instructions of protocol 2 that tensors need, by opcode; the comments give the names in Python's pickletools. */
const INSTRUCTIONS: ReadonlyMap<number, (machine: PickleMachine) => void> = new Map([
  [0x80, (m) => m.protocol()], // PROTO
  [0x28, (m) => m.mark()], // MARK
  [0x4e, (m) => m.push(null)], // NONE
  [0x88, (m) => m.push(true)], // NEWTRUE
  [0x89, (m) => m.push(false)], // NEWFALSE
  [0x4a, (m) => m.push(m.view.getInt32(m.take(4), true))], // BININT
  [0x4b, (m) => m.push(m.view.getUint8(m.take(1)))], // BININT1
  [0x4d, (m) => m.push(m.view.getUint16(m.take(2), true))], // BININT2
  [0x8a, (m) => m.push(m.longInteger())], // LONG1
  [0x47, (m) => m.push(m.view.getFloat64(m.take(8), false))], // BINFLOAT
  [0x58, (m) => m.push(m.text(m.view.getUint32(m.take(4), true)))], // BINUNICODE
  [0x29, (m) => m.push([])], // EMPTY_TUPLE
  [0x85, (m) => m.tuple(1)], // TUPLE1
  [0x86, (m) => m.tuple(2)], // TUPLE2
  [0x87, (m) => m.tuple(3)], // TUPLE3
  [0x74, (m) => m.push(m.popToMark())], // TUPLE
  [0x5d, (m) => m.push({ kind: "list", items: [] })], // EMPTY_LIST
  [0x61, (m) => m.append([m.pop()])], // APPEND
  [0x65, (m) => m.append(m.popToMark())], // APPENDS
  [0x7d, (m) => m.push(new Map())], // EMPTY_DICT
  [0x73, (m) => m.setItems([m.pop(), m.pop()].reverse())], // SETITEM
  [0x75, (m) => m.setItems(m.popToMark())], // SETITEMS
  [0x71, (m) => m.store(m.view.getUint8(m.take(1)))], // BINPUT
  [0x72, (m) => m.store(m.view.getUint32(m.take(4), true))], // LONG_BINPUT
  [0x68, (m) => m.recall(m.view.getUint8(m.take(1)))], // BINGET
  [0x6a, (m) => m.recall(m.view.getUint32(m.take(4), true))], // LONG_BINGET
  [0x63, (m) => m.global()], // GLOBAL
  [0x51, (m) => m.persistentId()], // BINPERSID
  [0x52, (m) => m.reduce()], // REDUCE
  [0x62, (m) => m.build()], // BUILD
]);
const STOP = 0x2e;

class PickleMachine {
  readonly view: DataView;
  readonly #bytes: Uint8Array;
  readonly #where: string;
  #position = 0;
  #instructionAt = 0;
  readonly #stack: Value[] = [];
  /** Stack heights at each open MARK, ascending. */
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, Value>();

  constructor(bytes: Uint8Array, where: string) {
    this.#bytes = bytes;
    this.#where = where;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  run(): Value {
    for (let executed = 0; executed < MAX_INSTRUCTIONS; executed++) {
      this.#instructionAt = this.#position;
      const opcode = this.view.getUint8(this.take(1));
      if (opcode === STOP) return this.pop();
      const instruction = INSTRUCTIONS.get(opcode);
      if (!instruction) throw this.refuse(`instruction 0x${opcode.toString(16).padStart(2, "0")} is not admitted`);
      instruction(this);
    }
    throw this.refuse(`expected at most ${MAX_INSTRUCTIONS} instructions`);
  }

  refuse(problem: string, details: Record<string, unknown> = {}): FormatError {
    return new FormatError(
      "CHECKPOINT_PICKLE",
      `${this.#where} @ ${this.#instructionAt}: ${problem}; nothing was executed, but do not trust this file: use a safetensors form of the checkpoint`,
      { details: { file: this.#where, offset: this.#instructionAt, ...details } },
    );
  }

  /** Consumes `count` bytes and returns where they begin. */
  take(count: number): number {
    const start = this.#position;
    if (count > this.#bytes.byteLength - start) throw this.refuse("the pickle is truncated");
    this.#position += count;
    return start;
  }

  text(length: number): string {
    const start = this.take(length);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
        this.#bytes.subarray(start, start + length),
      );
    } catch {
      throw this.refuse("a string is not UTF-8");
    }
  }

  longInteger(): number {
    const length = this.view.getUint8(this.take(1));
    const start = this.take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#bytes[start + i]!);
    const signed = Number(BigInt.asIntN(length * 8, value));
    if (!Number.isSafeInteger(signed)) throw this.refuse("an integer is beyond 2^53");
    return signed;
  }

  protocol(): void {
    const version = this.view.getUint8(this.take(1));
    if (version !== 2) throw this.refuse(`expected pickle protocol 2, found ${version}`);
  }

  push(value: Value): void {
    this.#stack.push(value);
  }

  pop(): Value {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) throw this.refuse("the stack is empty");
    return this.#stack.pop()!;
  }

  #top(): Value {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) throw this.refuse("the stack is empty");
    return this.#stack.at(-1)!;
  }

  mark(): void {
    this.#marks.push(this.#stack.length);
  }

  popToMark(): Value[] {
    const height = this.#marks.pop();
    if (height === undefined) throw this.refuse("a mark is missing");
    return this.#stack.splice(height);
  }

  tuple(length: number): void {
    const items = Array.from({ length }, () => this.pop());
    this.push(items.reverse());
  }

  append(items: readonly Value[]): void {
    const list = this.#top();
    if (!isKind(list, "list")) throw this.refuse("expected a list to append to");
    for (const item of items) list.items.push(item);
  }

  setItems(items: readonly Value[]): void {
    const dict = this.#top();
    if (!(dict instanceof Map) || items.length % 2 !== 0) throw this.refuse("expected a dictionary, keys and values");
    for (let i = 0; i < items.length; i += 2) {
      if (typeof items[i] === "object") throw this.refuse("expected a string or number as a dictionary's key");
      dict.set(items[i]!, items[i + 1]!);
    }
  }

  store(slot: number): void {
    this.#memo.set(slot, this.#top());
  }

  recall(slot: number): void {
    const value = this.#memo.get(slot);
    if (value === undefined) throw this.refuse(`memo ${slot} is empty`);
    this.push(value);
  }

  global(): void {
    const name = `${this.#line()}.${this.#line()}`;
    if (!ADMITTED_GLOBALS.has(name)) throw this.refuse(`global ${name} is not admitted`, { global: name });
    this.push({ kind: "global", name });
  }

  #line(): string {
    const end = this.#bytes.subarray(0, this.#position + MAX_GLOBAL_BYTES).indexOf(0x0a, this.#position);
    if (end < 0) throw this.refuse(`expected a global's name of at most ${MAX_GLOBAL_BYTES} bytes`);
    const text = this.text(end - this.#position);
    this.take(1);
    return text;
  }

  /** torch.save: `("storage", type, key, location, number of elements)`. */
  persistentId(): void {
    const id = this.pop();
    if (!Array.isArray(id) || id.length !== 5 || id[0] !== "storage") throw this.refuse("expected a storage's id");
    const [, type, key, , elements] = id as Value[];
    const storage = isKind(type, "global") ? STORAGES.get(type.name) : undefined;
    if (!storage || typeof key !== "string" || !isCount(elements)) throw this.refuse("expected a storage's id");
    this.push({ kind: "storage", typeName: (type as Global).name, ...storage, key, elements });
  }

  reduce(): void {
    const args = this.pop();
    const callee = this.pop();
    if (!isKind(callee, "global") || !Array.isArray(args)) throw this.refuse("expected a call of an admitted global");
    this.push(this.#call(callee.name, args as Value[]));
  }

  #call(name: string, args: readonly Value[]): Value {
    if (name === ORDERED_DICT && args.length === 0) return new Map();
    if (name === REBUILD_TENSOR && args.length >= 4) return this.#tensor(args);
    if (REBUILD_PARAMETER.includes(name) && isKind(args[0], "tensor")) return args[0];
    throw this.refuse(`a call of ${name} with these arguments is not admitted`, { global: name });
  }

  /** `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks)` */
  #tensor([storage, offset, shape, strides]: readonly Value[]): PickledTensor {
    const formed = isKind(storage, "storage") && isCount(offset) && isCounts(shape) && isCounts(strides);
    if (!formed || shape.length !== strides.length) throw this.refuse("a tensor's description is malformed");
    const last = offset + shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis]!, 0);
    const isEmpty = elementCount(shape) === 0;
    if (!isEmpty && last >= storage.elements) throw this.refuse(`a tensor reaches beyond its storage ${storage.key}`);
    return { kind: "tensor", storage, offset, shape, strides };
  }

  /** Attributes of the ordered dict, such as `_metadata`: dropped. */
  build(): void {
    this.pop();
    if (!(this.#top() instanceof Map)) throw this.refuse("setting the state of an object is not admitted");
  }
}

type Kinds = { tensor: PickledTensor; storage: PickledStorage; global: Global; list: List };

function isKind<K extends keyof Kinds>(value: Value | undefined, kind: K): value is Kinds[K] {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === kind;
}

function isCount(value: Value | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isCounts(value: Value | undefined): value is readonly number[] {
  return Array.isArray(value) && value.length <= MAX_RANK && value.every(isCount);
}
