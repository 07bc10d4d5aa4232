/** Tables that stay on flash, against the bytes that are read of them. */
import { memorySource } from "@flashwick/core";
import { memorySink, openModelFile, withChecksums, writeChecksumFile } from "@flashwick/flash-format";
import { memoryReader } from "@flashwick/flash-io";
import { Arena } from "@flashwick/kernels";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { describe, expect, it } from "vitest";
import { ggufBytes, modelBytes } from "./checkpoint.fixture.js";
import { RowTable } from "./row-table.js";
import { TokenMeter } from "./token-meter.js";

const NAME = "token_embd.weight";

/** A model file whose source counts what is read of it. */
async function openCounted(dtype: "f16" | "int8" = "f16") {
  const bytes = (await modelBytes("opt-tiny-sharded", dtype)).slice();
  const inner = memorySource(bytes);
  const read = { bytes: 0 };
  const file = await openModelFile({
    ...inner,
    read: (target, offset, signal) => {
      read.bytes += target.byteLength;
      return inner.read(target, offset, signal);
    },
  });
  read.bytes = 0;
  const tensor = file.header.tensors.get(NAME)!;
  const tableOf = (of = file) => new RowTable(of, NAME, null, memoryReader(bytes));
  return { bytes, file, read, tensor, tableOf };
}

describe("a table on flash was read whole for every new engine", () => {
  it.each(["f16", "int8"] as const)("%s: its checksum is computed once for each opened file", async (dtype) => {
    const { file, read, tensor, tableOf } = await openCounted(dtype);
    const wholeBytes = tensor.sizeBytes + (tensor.scales?.sizeBytes ?? 0);
    await tableOf().verify();
    expect(read.bytes).toBe(wholeBytes);
    await tableOf().verify();
    expect(read.bytes).toBe(wholeBytes);
    // Opened again, it may be another file under the same name.
    await tableOf({ ...file }).verify();
    expect(read.bytes).toBe(2 * wholeBytes);
  });

  it("a table that did not match is read, and refused, again", async () => {
    const { bytes, tensor, tableOf } = await openCounted();
    bytes[tensor.offset]! ^= 1;
    for (let engine = 0; engine < 2; engine++) {
      await expect(tableOf().verify()).rejects.toMatchObject({ code: "INTEGRITY_TENSOR", details: { tensor: NAME } });
    }
  });

  it("a check that was aborted does not count", async () => {
    const { read, tensor, tableOf } = await openCounted();
    await expect(tableOf().verify(AbortSignal.abort("enough"))).rejects.toBe("enough");
    read.bytes = 0;
    await tableOf().verify();
    expect(read.bytes).toBe(tensor.sizeBytes);
  });
});

describe("a row that was damaged after its table had been verified was believed", () => {
  const kernels = createWasmKernels(new Arena(2 ** 20));
  const meter = new TokenMeter(() => 0);
  const [out, staging] = [kernels.arena.allocate(4096), kernels.arena.allocate(4096)];
  const gather = (table: RowTable) => table.gather(kernels, out, [7, 3], staging, meter);

  it.each([
    ["f16", "its elements", ({ offset, sizeBytes, rows }) => offset + 3 * (sizeBytes / rows)],
    ["int8", "its elements", ({ offset, sizeBytes, rows }) => offset + 4 * (sizeBytes / rows) - 1],
    ["int8", "its scale", ({ scales }) => scales!.offset + 4 * 3 + 1],
  ] as ["f16" | "int8", string, (tensor: Awaited<ReturnType<typeof openCounted>>["tensor"]) => number][])(
    "%s: %s",
    async (dtype, _, place) => {
      const { bytes, tensor, tableOf } = await openCounted(dtype);
      const table = tableOf();
      await table.verify();
      await gather(table);
      bytes[place(tensor)]! ^= 4;
      await expect(gather(table)).rejects.toMatchObject({
        code: "INTEGRITY_TENSOR",
        message: expect.stringContaining("row 3"),
      });
    },
  );

  it("in a file of llama.cpp's with checksums beside it", async () => {
    const bytes = ggufBytes("phi2-fused");
    const plain = await openModelFile(memorySource(bytes));
    const sink = memorySink();
    await writeChecksumFile(sink, plain);
    const file = await withChecksums(plain, memorySource(sink.committed!));
    const table = new RowTable(file, NAME, null, memoryReader(bytes));
    await table.verify();
    await gather(table);
    const { offset, sizeBytes, rows } = file.header.tensors.get(NAME)!;
    bytes[offset + 3 * (sizeBytes / rows) + 5]! ^= 1;
    await expect(gather(table)).rejects.toMatchObject({ code: "INTEGRITY_TENSOR" });
  });
});
