import { expect, it } from "vitest";

// By address: the script is JavaScript, which TypeScript does not look into.
const { paretoFront } = await import(new URL("./compression-picture.mjs", import.meta.url).href);

it("the front has each size's best, and nothing that a smaller file beats or equals", () => {
  const row = (bytes: number, mean_kl: number) => ({ bytes, mean_kl });
  const rows = [row(9, 1), row(5, 3), row(7, 3), row(5, 4), row(8, 2), row(10, 1)];
  expect(paretoFront(rows)).toEqual([row(5, 3), row(8, 2), row(9, 1)]);
  expect(paretoFront([])).toEqual([]);
});
