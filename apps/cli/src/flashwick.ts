#!/usr/bin/env node
/** The executable: connects {@link main} to the process. */
import { main } from "./main.js";
import type { TextOutput } from "./terminal.js";

const EXIT_STATUS = { SIGINT: 130, SIGTERM: 143 } as const;

const interrupt = new AbortController();
let interruptedBy: keyof typeof EXIT_STATUS | null = null;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
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

const status = await main(process.argv.slice(2), {
  out: textOutput(process.stdout),
  err: textOutput(process.stderr),
  env: process.env,
  signal: interrupt.signal,
  clock: () => performance.now(),
  peakRssBytes: () => process.resourceUsage().maxRSS * 1024,
});
// Not process.exit: what is still on its way through a pipe must arrive.
if (isDeserted) process.exitCode = 0;
else process.exitCode = interruptedBy && status === 130 ? EXIT_STATUS[interruptedBy] : status;
