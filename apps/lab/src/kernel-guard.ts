/** Lets a model run only on kernels that have passed their self-test. */
import { type ByteSource, type DType, UnsupportedError } from "@flashwick/core";
import { type ModelHeader, openModelFile } from "@flashwick/flash-format";
import type { ModelStore } from "@flashwick/flash-io/opfs";
import type { SelfTest } from "./messages.js";
import { failureFor } from "./self-test.js";

export class KernelGuard {
  readonly #store: ModelStore;
  readonly #test: Promise<SelfTest>;

  /** @param test Under way: what is asked meanwhile waits for it. */
  constructor(store: ModelStore, test: Promise<SelfTest>) {
    this.#store = store;
    this.#test = test;
  }

  /**
   * Waits for the self-test. Where everything has passed, the model is not looked at.
   *
   * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` if a kernel that the model needs has failed.
   */
  async allow(name: string, purpose: "run" | "train"): Promise<void> {
    const test = await this.#test;
    if (test.kernels.every(({ failures }) => failures.length === 0)) return;
    const source = await this.#store.openSource(name);
    try {
      refuseFailing(source, test, weightTypes((await openModelFile(source)).header), purpose);
    } finally {
      await source.close();
    }
  }
}

function refuseFailing(source: ByteSource, test: SelfTest, types: ReadonlySet<DType>, purpose: "run" | "train"): void {
  const failure = failureFor(test, types, purpose === "train");
  if (failure === null) return;
  const message =
    `${source.name} needs the kernel ${failure.op}, which computes wrongly in this browser (${failure.title}: ${failure.message}); ` +
    "use another browser, or a model of another type, and report this";
  throw new UnsupportedError("UNSUPPORTED_FEATURE", message);
}

/** Every type that weights of a model have. */
export function weightTypes({ weights, tensors, matrices, experts }: ModelHeader): ReadonlySet<DType> {
  const ofLayers = matrices.flatMap((layer) => Object.values(layer).map(({ dtype }) => dtype));
  const ofExperts = experts.flatMap((layer) => layer?.matrices.map(({ dtype }) => dtype) ?? []);
  return new Set([weights.dtype, ...[...tensors.values()].map(({ dtype }) => dtype), ...ofLayers, ...ofExperts]);
}
