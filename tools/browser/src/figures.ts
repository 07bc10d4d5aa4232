/** Figures of a measurement in a browser: said as they come, and kept in docs/results. */
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";

export class Figures {
  readonly #rows: { readonly what: string; readonly value: number; readonly unit: string }[] = [];

  note(what: string, value: number, unit: string): void {
    this.#rows.push({ what, value: Number(value.toPrecision(4)), unit });
    console.log(`${what}: ${value.toPrecision(4)} ${unit}`);
  }

  /** @param file Its name in docs/results. @param chromium The browser's version. */
  write(file: string, chromium = ""): void {
    const machine = `${cpus()[0]!.model.trim()} x${cpus().length}; Chromium ${chromium}`;
    const lines = this.#rows.map(({ what, value, unit }) => `"${what}",${value},${unit},${machine}`);
    writeFileSync(
      fileURLToPath(new URL(`../../../docs/results/${file}`, import.meta.url)),
      `${["what,value,unit,machine", ...lines].join("\n")}\n`,
    );
  }
}
