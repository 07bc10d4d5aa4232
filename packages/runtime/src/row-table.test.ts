/** Tables that stay on flash, against the bytes that are read of them. */
import { memorySource } from "@flashwick/core";
import { openModelFile } from "@flashwick/flash-format";
import { memoryReader } from "@flashwick/flash-io";
import { describe, expect, it } from "vitest";
import { modelBytes } from "./checkpoint.fixture.js";
import { RowTable } from "./row-table.js";

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
