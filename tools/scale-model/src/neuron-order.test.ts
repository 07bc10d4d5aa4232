import { describe, expect, it } from "vitest";
import { neuronOrder } from "./neuron-order.js";

describe("neuronOrder", () => {
  it("is a permutation without copies side by side, dense as they are", () => {
    for (const [dFf, copies] of [
      [1024, 16],
      [8, 50],
    ] as const) {
      const order = neuronOrder(dFf, copies, 3, 1);
      expect(Array.from(order).sort((a, b) => a - b)).toEqual(Array.from({ length: dFf * copies }, (_, i) => i));
      const neighbours = order.filter((entry, i) => i > 0 && entry % dFf === order[i - 1]! % dFf);
      expect(neighbours.length).toBe(0);
    }
  });

  it("is the same for the same seed and layer only", () => {
    const order = neuronOrder(64, 2, 5, 0);
    expect(neuronOrder(64, 2, 5, 0)).toEqual(order);
    expect(neuronOrder(64, 2, 5, 1)).not.toEqual(order);
    expect(neuronOrder(64, 2, 6, 0)).not.toEqual(order);
  });
});
