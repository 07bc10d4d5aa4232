/**
 * What `--help` of each command says, word for word: whoever changes it sees the difference here. One command writes it anew:
 *
 *     npx -y pnpm@10.34.9 exec vitest run apps/cli/src/help.test.ts --update
 */
import { expect, it } from "vitest";
import { createProgram } from "./program.js";
import { NO_INPUT } from "./terminal-input.fixture.js";
import { flashwick } from "./tiny-checkpoint.fixture.js";

const silent = { isTty: false, columns: 100, write: () => {} };
const terminal = {
  ...{ out: silent, err: silent, env: {} },
  signal: new AbortController().signal,
  clock: () => 0,
  peakRssBytes: () => 0,
  ...NO_INPUT,
};

it("is as kept in help.golden.txt", async () => {
  const { commands } = await createProgram({ terminal, exitStatus: 0 });
  const pages = commands.flatMap((command) => [
    [command.name()],
    ...command.commands.map((inner) => [command.name(), inner.name()]),
  ]);
  const texts: string[] = [];
  for (const words of [[], ...pages]) {
    const { out } = await flashwick([...words, "--help"]);
    texts.push(`$ ${["flashwick", ...words].join(" ")} --help\n\n${out}`);
  }
  await expect(texts.join("\n")).toMatchFileSnapshot("help.golden.txt");
});
