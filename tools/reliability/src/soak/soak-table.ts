/** docs/results/soak.csv: the figures of the last long soak of the engine. */

/** One figure of a soak. */
export interface SoakFigure {
  readonly figure: string;
  readonly value: number;
  readonly unit: string;
}

const DIGITS = 6;

/** The table's text, numbers to six digits. @param node Version of the process that was soaked. @param machine Its processor. */
export function soakTable(figures: readonly SoakFigure[], node: string, machine: string): string {
  const lines = figures.map(({ figure, value, unit }) => {
    return [`"${figure}"`, Number(value.toPrecision(DIGITS)), unit, node, machine].join(",");
  });
  return `${["figure,value,unit,node,machine", ...lines].join("\n")}\n`;
}
