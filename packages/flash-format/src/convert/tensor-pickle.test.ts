import { isFlashwickError } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { concat, op, pickle, pickledDict, pickledTensor, tuple, utf8 } from "./checkpoint-fixture.js";
import { readTensorPickle } from "./tensor-pickle.js";

const VIEW = { storage: "HalfStorage", key: "0", elements: 24, offset: 4, shape: [2, 3], strides: [3, 1] };
const HEALTHY = pickle(pickledDict(new Map([["w", pickledTensor(VIEW)]])));

function read(bytes: Uint8Array) {
  return readTensorPickle(bytes, "weights.bin/data.pkl");
}

function refusal(bytes: Uint8Array) {
  try {
    read(bytes);
  } catch (error) {
    return error;
  }
  throw new Error("the pickle was read");
}

describe("readTensorPickle", () => {
  it("describes a tensor without its bytes", () => {
    const storage = {
      kind: "storage",
      typeName: "torch.HalfStorage",
      dtype: "f16",
      elementBytes: 2,
      key: "0",
      elements: 24,
    };
    const { offset, shape, strides } = VIEW;
    expect([...read(HEALTHY)]).toEqual([["w", { kind: "tensor", storage, offset, shape, strides }]]);
  });

  it("reads an ordered dict with _metadata, as state_dict() makes one", () => {
    const ordered = concat([op.global("collections", "OrderedDict"), op.emptyTuple, op.reduce]);
    const items = concat([op.mark, op.string("w"), pickledTensor(VIEW), op.setItems]);
    const state = pickledDict(new Map([["_metadata", pickledDict(new Map([["version", op.integer(1)]]))]]));
    expect([...read(pickle(ordered, items, state, op.build)).keys()]).toEqual(["w"]);
  });

  it.each(["_rebuild_parameter", "_rebuild_parameter_with_state"])("reads what %s wraps", (name) => {
    const hooks = concat([op.global("collections", "OrderedDict"), op.emptyTuple, op.reduce]);
    const state = name.endsWith("state") ? [op.emptyDict] : [];
    const args = tuple(pickledTensor(VIEW), op.none, hooks, ...state);
    const parameter = concat([op.global("torch._utils", name), args, op.reduce]);
    expect(read(pickle(pickledDict(new Map([["w", parameter]])))).get("w")?.shape).toEqual([2, 3]);
  });

  it("reads sizes beyond 32 bits", () => {
    const view = { ...VIEW, elements: 2 ** 40, offset: 2 ** 39 };
    expect(read(pickle(pickledDict(new Map([["w", pickledTensor(view)]])))).get("w")?.offset).toBe(2 ** 39);
  });

  it("leaves out entries that are not tensors", () => {
    const items = new Map([
      ["epoch", op.integer(3)],
      ["w", pickledTensor(VIEW)],
    ]);
    expect([...read(pickle(pickledDict(items))).keys()]).toEqual(["w"]);
  });
});

function tensorsOrError(bytes: Uint8Array): unknown {
  try {
    return read(bytes);
  } catch (error) {
    return error;
  }
}

describe("a hostile pickle", () => {
  const shell = tuple(op.string("touch /tmp/owned"));

  it.each([
    ["posix", "system"],
    ["os", "system"],
    ["builtins", "eval"],
    ["subprocess", "Popen"],
    ["torch", "load"],
    ["torch.storage", "_load_from_bytes"],
    ["collections", "Counter"],
    ["__builtin__", "getattr"],
  ])("is refused when it names the global %s.%s", (module, name) => {
    expect(refusal(pickle(op.global(module, name), shell, op.reduce))).toMatchObject({
      code: "CHECKPOINT_PICKLE",
      message: expect.stringContaining(`global ${module}.${name} is not admitted`),
      details: { global: `${module}.${name}`, offset: 2 },
    });
  });

  it.each([
    ["calls a storage class", [op.global("torch", "HalfStorage"), shell, op.reduce], "call of torch.HalfStorage"],
    ["calls an ordered dict with arguments", [op.global("collections", "OrderedDict"), shell, op.reduce], "call of"],
    ["calls a string", [op.string("posix.system"), shell, op.reduce], "call of an admitted global"],
    ["calls a tensor", [pickledTensor(VIEW), shell, op.reduce], "call of an admitted global"],
    [
      "rebuilds a tensor of strings",
      [op.global("torch._utils", "_rebuild_tensor_v2"), tuple(shell, shell, shell, shell), op.reduce],
      "malformed",
    ],
    ["sets the state of a tensor", [pickledTensor(VIEW), op.emptyDict, op.build], "setting the state"],
    ["uses an instruction of another protocol", [utf8("\x93")], "instruction 0xc2"],
    ["makes an object by OBJ", [op.mark, op.none, utf8("o")], "instruction 0x6f"],
    ["makes an object by INST", [op.mark, utf8("ios\nsystem\n")], "instruction 0x69"],
    ["has a persistent id that is no storage", [op.string("file:///etc/passwd"), op.persistentId], "storage's id"],
    ["recalls an empty memo", [op.get(0xffffffff)], "memo 4294967295 is empty"],
    ["pops an empty stack", [op.reduce], "stack is empty"],
    ["pops below a mark", [op.emptyDict, op.mark, op.reduce], "stack is empty"],
    ["closes a mark that is not open", [op.tuple], "mark is missing"],
    ["has a key that is an object", [op.emptyDict, op.emptyList, op.none, op.setItem], "dictionary's key"],
    ["has an odd number of items", [op.emptyDict, op.mark, op.none, op.setItems], "keys and values"],
    ["is not a dictionary", [op.integer(1)], "dictionary of tensors"],
    ["claims 4 GiB of text", [utf8("X"), Uint8Array.of(255, 255, 255, 255)], "truncated"],
    ["claims 255 bytes of integer", [Uint8Array.of(0x8a, 255)], "truncated"],
    ["has an integer beyond 2^53", [Uint8Array.of(0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 0x40)], "beyond 2^53"],
    ["has a global without end", [utf8(`c${"x".repeat(1000)}`)], "global's name"],
    ["has text that is not UTF-8", [utf8("X"), Uint8Array.of(1, 0, 0, 0, 0xff)], "UTF-8"],
  ] as const)("is refused when it %s", (_what, instructions, problem) => {
    const error = refusal(pickle(...instructions));
    expect(error).toMatchObject({ code: "CHECKPOINT_PICKLE", message: expect.stringContaining(problem) });
  });

  it.each([
    ["beyond its storage", { shape: [5, 5], strides: [5, 1] }],
    ["with an absurd shape", { shape: [2 ** 52, 2 ** 52], strides: [1, 1] }],
    ["with an absurd stride", { strides: [2 ** 52, 1] }],
    ["with fewer strides than dimensions", { strides: [1] }],
    ["of nine dimensions", { shape: Array(9).fill(1), strides: Array(9).fill(1) }],
    ["of a storage that torch does not have", { storage: "QInt8Storage" }],
  ])("is refused when it has a tensor %s", (_what, change) => {
    const bytes = pickle(pickledDict(new Map([["w", pickledTensor({ ...VIEW, ...change })]])));
    expect(refusal(bytes)).toMatchObject({ code: "CHECKPOINT_PICKLE" });
  });

  it("does not grow by doubling references (billion laughs)", () => {
    const doublings = Array.from({ length: 200 }, (_, i) => [tuple(op.get(i), op.get(i)), op.put(i + 1)]).flat();
    const bytes = pickle(op.emptyDict, op.string("w"), op.none, op.put(0), ...doublings, op.tuple);
    expect(refusal(bytes)).toMatchObject({ code: "CHECKPOINT_PICKLE" });
    expect(refusal(pickle(op.none, op.put(0), ...doublings))).toMatchObject({ code: "CHECKPOINT_PICKLE" });
  });

  it("does not fill the memory with millions of empty dictionaries", () => {
    const bytes = pickle(new Uint8Array(2 ** 22).fill(0x7d));
    expect(refusal(bytes)).toMatchObject({ code: "CHECKPOINT_PICKLE", message: expect.stringContaining("500000") });
  });

  it("gives a typed error at every truncation", () => {
    for (let length = 0; length < HEALTHY.length; length++) {
      expect(refusal(HEALTHY.subarray(0, length))).toMatchObject({ code: "CHECKPOINT_PICKLE" });
    }
  });

  it("gives tensors or a typed error, whatever bytes are changed", () => {
    const changes = fc.array(fc.tuple(fc.nat(HEALTHY.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(changes, (list) => {
        const bytes = HEALTHY.slice();
        for (const [at, value] of list) bytes[at] = value;
        expect(tensorsOrError(bytes)).toSatisfy(
          (result) => result instanceof Map || (isFlashwickError(result) && result.code === "CHECKPOINT_PICKLE"),
        );
      }),
      { numRuns: 2000 },
    );
  });
});
