/** A model whose reads are counted beside its own counters. */
import type { FlashReader } from "@flashwick/flash-io";
import { Model } from "@flashwick/runtime";
import { openModel } from "@flashwick/runtime/node";
import type { SoakModel } from "./soak-models.js";

/** What has been asked of a reader. */
export interface ReadTally {
  reads: number;
  bytes: number;
}

/** An open model and what its engine asks of flash. */
export interface CountedModel {
  readonly model: Model;
  readonly tally: ReadTally;
}

/** Opens a model as `openModel` does, with a reader in between that counts. */
export async function openCounted({ path, options }: SoakModel): Promise<CountedModel> {
  const opened = await openModel(path, options);
  const tally = { reads: 0, bytes: 0 };
  const reader = countReads(opened.parts.reader, tally);
  // Closing this one closes the parts of the other, which has loaded nothing.
  const model = new Model({ ...opened.parts, reader }, opened.options);
  return { model, tally };
}

function countReads(reader: FlashReader, tally: ReadTally): FlashReader {
  return new Proxy(reader, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      if (property !== "start") return value.bind(target);
      return (...args: Parameters<FlashReader["start"]>) => {
        target.start(...args);
        tally.reads += args[1].length;
        for (const { sizeBytes } of args[1]) tally.bytes += sizeBytes;
      };
    },
  });
}
