#!/usr/bin/env node
/** The executable: connects {@link main} to the process. */
import { createInterface } from "node:readline/promises";
import { main } from "./main.js";
import type { TextOutput } from "./terminal.js";

const EXIT_STATUS = { SIGINT: 130, SIGTERM: 143 } as const;

const interrupt = new AbortController();
let interruptedBy: keyof typeof EXIT_STATUS | null = null;
/** Work that Ctrl-C ends by itself; a second one ends the program. */
let interruptible: AbortController | null = null;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (signal === "SIGINT" && interruptible && !interruptible.signal.aborted) {
      interruptible.abort();
      return;
    }
    // A second Ctrl-C is from somebody who does not want to wait.
    if (interruptedBy) process.exit(EXIT_STATUS[signal]);
    interruptedBy = signal;
    interrupt.abort();
  });
}

/** The reader of standard output has gone (`flashwick … | head`): nobody is left to tell, but files must be left in order. */
let isDeserted = false;
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  isDeserted = true;
  interrupt.abort();
});
process.stderr.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});

function textOutput(stream: NodeJS.WriteStream): TextOutput {
  return {
    isTty: stream.isTTY === true,
    get columns() {
      return stream.columns ?? 80;
    },
    write(text) {
      if (!isDeserted) stream.write(text);
    },
  };
}

async function* inputLines(prompt: string): AsyncGenerator<string> {
  const isTty = process.stdin.isTTY === true;
  const lines = createInterface({ input: process.stdin, output: isTty ? process.stderr : undefined, prompt });
  // Reading lines takes Ctrl-C from the terminal before the process sees it.
  lines.on("SIGINT", () => process.emit("SIGINT"));
  const close = () => lines.close();
  interrupt.signal.addEventListener("abort", close);
  try {
    if (isTty) lines.prompt();
    for await (const line of lines) {
      yield line;
      if (isTty) lines.prompt();
    }
  } finally {
    interrupt.signal.removeEventListener("abort", close);
    lines.close();
  }
}

const status = await main(process.argv.slice(2), {
  out: textOutput(process.stdout),
  err: textOutput(process.stderr),
  env: process.env,
  input: { isTty: process.stdin.isTTY === true, lines: inputLines },
  signal: interrupt.signal,
  interruptible: async (work) => {
    interruptible = new AbortController();
    try {
      return await work(AbortSignal.any([interrupt.signal, interruptible.signal]));
    } finally {
      interruptible = null;
    }
  },
  clock: () => performance.now(),
  peakRssBytes: () => process.resourceUsage().maxRSS * 1024,
});
// Not process.exit: what is still on its way through a pipe must arrive.
if (isDeserted) process.exitCode = 0;
else process.exitCode = interruptedBy && status === 130 ? EXIT_STATUS[interruptedBy] : status;
