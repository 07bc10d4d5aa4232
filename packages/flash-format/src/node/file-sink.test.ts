import { existsSync, linkSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isFlashwickError } from "@flashwick/core";
import { capability } from "@flashwick/test-capabilities";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openModelFile } from "../read-model.js";
import {
  tinyModelBytes,
  tinyRows,
  tinySourceCrc,
  tinySpec,
  writeTinyModel,
  writeTinyParts,
} from "../tiny-model.fixture.js";
import { createModelWriter } from "../write-model.js";
import { fileSink } from "./file-sink.js";
import { fileSource } from "./file-source.js";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "flash-format-"));
  path = join(folder, "tiny.gguf");
});
afterEach(() => rmSync(folder, { recursive: true }));

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "none";
  } catch (error) {
    if (isFlashwickError(error)) return error.code;
    throw error;
  }
}

const leftovers = () => [existsSync(`${path}.partial`), existsSync(`${path}.partial.journal`)];

describe("fileSink", () => {
  it("writes a model that fileSource opens, and leaves nothing else", async () => {
    const sink = await fileSink(path);
    await writeTinyModel(sink, tinySpec(), { journal: sink.journal });
    expect(leftovers()).toEqual([false, false]);
    expect(Buffer.compare(readFileSync(path), await tinyModelBytes())).toBe(0);
    const source = await fileSource(path);
    const { header } = await openModelFile(source);
    expect(header.fileBytes).toBe(source.sizeBytes);
    await source.close();
  });

  it("shows nothing under the final name before the end", async () => {
    const sink = await fileSink(path);
    const spec = tinySpec();
    const writer = await createModelWriter(sink, spec, { journal: sink.journal });
    await writeTinyParts(writer, spec);
    expect(existsSync(path)).toBe(false);
    await writer.finish();
    expect(existsSync(path)).toBe(true);
  });

  it("refuses an existing file, unless forced; the old one stays until the end", async () => {
    writeFileSync(path, "old");
    expect(await codeOf(fileSink(path))).toBe("IO_EXISTS");
    const sink = await fileSink(path, { force: true });
    await sink.write(new Uint8Array(4), 0);
    expect(readFileSync(path, "utf8")).toBe("old");
    await sink.abandon();
    expect(readFileSync(path, "utf8")).toBe("old");
    const again = await fileSink(path, { force: true });
    await again.write(new Uint8Array([1]), 2);
    await again.commit(4);
    expect([...readFileSync(path)]).toEqual([0, 0, 1, 0]);
  });

  it("never empties a file of somebody else's that is linked under the temporary name", async () => {
    const theirs = join(folder, "theirs");
    writeFileSync(theirs, "theirs");
    linkSync(theirs, `${path}.partial`);
    const sink = await fileSink(path);
    await sink.write(Uint8Array.of(1), 0);
    await sink.commit(1);
    expect([readFileSync(theirs, "utf8"), [...readFileSync(path)]]).toEqual(["theirs", [1]]);
  });

  it("removes the journal that a process left which died after its last rename", async () => {
    writeFileSync(path, "whole");
    writeFileSync(`${path}.partial.journal`, "{}\n");
    expect(await codeOf(fileSink(path))).toBe("IO_EXISTS");
    expect(leftovers()).toEqual([false, false]);
  });

  it.skipIf(!["linux", "win32"].includes(process.platform))(
    "never mixes two writers of one file: the second is refused until the first has ended",
    async () => {
      const ends = ["commit", "abandon", "suspend"] as const;
      for (const end of ends) {
        const first = await fileSink(path, { force: true });
        await first.write(Uint8Array.of(1, 1), 0);
        expect(await codeOf(fileSink(join(folder, ".", "tiny.gguf"), { force: true }))).toBe("IO_BUSY");
        await first.write(Uint8Array.of(2), 0);
        await first[end](2);
      }
      expect([...readFileSync(path)]).toEqual([2, 1]);
      const last = await fileSink(path, { force: true });
      await last.abandon();
      expect(leftovers()).toEqual([false, false]);
    },
  );

  it("refuses a file that came to be in the meantime", async () => {
    const sink = await fileSink(path);
    writeFileSync(path, "someone else's");
    expect(await codeOf(sink.commit(4))).toBe("IO_EXISTS");
    await sink.abandon();
    expect(readFileSync(path, "utf8")).toBe("someone else's");
    expect(leftovers()).toEqual([false, false]);
  });

  it("abandon leaves nothing, twice is as good as once, and after commit it does nothing", async () => {
    const sink = await fileSink(path);
    await sink.journal.append("line");
    await sink.write(new Uint8Array(10), 0);
    await sink.abandon();
    await sink.abandon();
    expect([existsSync(path), ...leftovers()]).toEqual([false, false, false]);

    const committed = await fileSink(path);
    await committed.commit(3);
    await committed.abandon();
    expect(existsSync(path)).toBe(true);
  });

  it("reads holes, and what lies beyond the end, as zero", async () => {
    const sink = await fileSink(path);
    await sink.write(Uint8Array.of(7), 5);
    const bytes = new Uint8Array(10).fill(9);
    await sink.read(bytes, 0);
    expect([...bytes]).toEqual([0, 0, 0, 0, 0, 7, 0, 0, 0, 0]);
    await sink.abandon();
  });

  it("says IO_WRITE for a folder that is not there", async () => {
    expect(await codeOf(fileSink(join(folder, "nowhere", "x.gguf")))).toBe("IO_WRITE");
  });

  const fullDevice = capability("linux", existsSync("/dev/full") ? null : "there is no /dev/full");
  it.skipIf(fullDevice.isMissing)(
    fullDevice.title("says IO_NO_SPACE on a full device, and abandon leaves nothing"),
    async () => {
      symlinkSync("/dev/full", `${path}.partial`);
      const sink = await fileSink(path);
      await sink.journal.entries();
      expect(await codeOf(sink.write(new Uint8Array(10), 0))).toBe("IO_NO_SPACE");
      await sink.abandon();
      expect([existsSync(path), ...leftovers()]).toEqual([false, false, false]);
    },
  );

  it("goes on where a killed process stopped", async () => {
    const spec = tinySpec();
    const killed = await fileSink(path);
    const first = await createModelWriter(killed, spec, { journal: killed.journal, sourceIdentity: "a" });
    const name = "token_embd.weight";
    await first.writeRows(name, tinyRows(name, 0, 11, 20));
    await first.complete(name, tinySourceCrc(name));
    await first.writeRows("position_embd.weight", tinyRows("elsewhere", 0, 3, 20));
    // As when the process dies here: nothing is removed, and the system takes back its lock.
    await killed.suspend();
    expect(leftovers()).toEqual([true, true]);

    const sink = await fileSink(path);
    const writer = await createModelWriter(sink, spec, { journal: sink.journal, sourceIdentity: "a" });
    expect(writer.isComplete(name)).toBe(true);
    expect(writer.isComplete("position_embd.weight")).toBe(false);
    await writeTinyParts(writer, spec);
    await writer.finish();
    expect(Buffer.compare(readFileSync(path), await tinyModelBytes())).toBe(0);
    expect(leftovers()).toEqual([false, false]);
  });

  it("goes on where a writer was suspended; nothing stands under the final name meanwhile", async () => {
    const spec = tinySpec();
    const sink = await fileSink(path);
    const first = await createModelWriter(sink, spec, { journal: sink.journal });
    const name = "token_embd.weight";
    await first.writeRows(name, tinyRows(name, 0, 11, 20));
    await first.complete(name, tinySourceCrc(name));
    await first.suspend();
    await first.abandon();
    await first.suspend();
    expect([existsSync(path), ...leftovers()]).toEqual([false, true, true]);

    const again = await fileSink(path);
    const second = await createModelWriter(again, spec, { journal: again.journal });
    expect(second.isComplete(name)).toBe(true);
    await writeTinyParts(second, spec);
    await second.finish();
    expect(Buffer.compare(readFileSync(path), await tinyModelBytes())).toBe(0);
    expect(leftovers()).toEqual([false, false]);
  });

  it("suspended before a part was finished, it leaves nothing", async () => {
    const sink = await fileSink(path);
    const writer = await createModelWriter(sink, tinySpec(), { journal: sink.journal });
    await writer.writeRows("token_embd.weight", tinyRows("token_embd.weight", 0, 3, 20));
    await writer.suspend();
    expect([existsSync(path), ...leftovers()]).toEqual([false, false, false]);
  });

  it("what another plan left does not show through", async () => {
    const other = await fileSink(path);
    await other.journal.append('{"plan":"another"}');
    await other.write(new Uint8Array(2_000_000).fill(0xaa), 0);
    await other.suspend();
    const sink = await fileSink(path);
    await writeTinyModel(sink, tinySpec(), { journal: sink.journal });
    expect(Buffer.compare(readFileSync(path), await tinyModelBytes())).toBe(0);
  });

  it("without a journal of its own, what was left does not show through either", async () => {
    writeFileSync(`${path}.partial`, new Uint8Array(2_000_000).fill(0xaa));
    const sink = await fileSink(path);
    await writeTinyModel(sink, tinySpec());
    expect(Buffer.compare(readFileSync(path), await tinyModelBytes())).toBe(0);
  });
});

describe("fileSource", () => {
  it("reads what stands at an offset, into shared memory too", async () => {
    writeFileSync(
      path,
      Uint8Array.from({ length: 100 }, (_, i) => i),
    );
    const source = await fileSource(path);
    const shared = new Uint8Array(new SharedArrayBuffer(8), 2, 4);
    await source.read(shared, 50);
    expect([...shared]).toEqual([50, 51, 52, 53]);
    await source.close();
    await source.close();
  });

  it("says FORMAT_TRUNCATED beyond the end, and IO_NOT_FOUND for no file", async () => {
    writeFileSync(path, "0123456789");
    const source = await fileSource(path);
    expect(await codeOf(source.read(new Uint8Array(4), 8))).toBe("FORMAT_TRUNCATED");
    await source.close();
    expect(await codeOf(source.read(new Uint8Array(4), 0))).toBe("IO_READ");
    expect(await codeOf(fileSource(`${path}x`))).toBe("IO_NOT_FOUND");
    expect(await codeOf(fileSource(folder))).toBe("IO_READ");
  });

  it("stops when told", async () => {
    writeFileSync(path, "0123456789");
    const source = await fileSource(path);
    await expect(source.read(new Uint8Array(4), 0, AbortSignal.abort("enough"))).rejects.toBe("enough");
    await source.close();
  });
});
