/**
 * Which arena holds which layer. Purely arithmetic; a wasm32 memory ends at 4 GiB, so a large model has several, and only
 * the residual stream (a few KiB) crosses between them.
 */
import { BudgetError } from "@flashwick/core";

export interface ArenaPlan {
  /** Arena index of each layer; ascending, without gaps. */
  readonly arenaOfLayer: readonly number[];
  /** Bytes to allocate in each arena. */
  readonly bytesByArena: readonly number[];
}

/**
 * Fills arenas with layers in order.
 *
 * @param layerBytes     What each layer needs: weights, predictor, slots, keys and values.
 * @param globalBytes    Embeddings and head: in the first arena.
 * @param workspaceBytes Activations and alignment: in every arena.
 * @param maxArenaBytes  Largest arena the platform gives.
 * @throws {BudgetError} if one layer, or the globals, do not fit into an arena.
 */
export function planArenas(
  layerBytes: readonly number[],
  globalBytes: number,
  workspaceBytes: number,
  maxArenaBytes: number,
): ArenaPlan {
  const bytesByArena = [globalBytes + workspaceBytes];
  const arenaOfLayer = layerBytes.map((bytes, layer) => {
    if (bytesByArena.at(-1)! + bytes > maxArenaBytes) {
      bytesByArena.push(workspaceBytes);
    }
    if (bytesByArena.at(-1)! + bytes > maxArenaBytes) {
      throw new BudgetError(
        "BUDGET_TOO_SMALL",
        `layer ${layer} needs ${bytes} bytes beside ${workspaceBytes} of activations, but an arena holds ${maxArenaBytes}; ` +
          "lower the DRAM budget or the context length",
        { details: { layer, layerBytes: bytes, workspaceBytes, maxArenaBytes } },
      );
    }
    bytesByArena[bytesByArena.length - 1]! += bytes;
    return bytesByArena.length - 1;
  });
  return { arenaOfLayer, bytesByArena };
}
