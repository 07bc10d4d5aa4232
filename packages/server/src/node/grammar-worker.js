/**
 * A thread that works out grammars. Plain JavaScript that Node runs as it stands. It compiles a schema when it is asked to, then follows one text: an
 * order a time through shared memory, which the engine's thread writes and waits for without a turn of its event loop.
 *
 * The library ends its whole WebAssembly instance at the first error, so what goes wrong here is told, and the thread is thrown away.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { compileFunction } from "node:vm";
import { parentPort, workerData } from "node:worker_threads";

const { cells, orders, states, control, mask, vocabulary, vocabSize, stopToken, maxMemoryBytes } = workerData;

/** What the library prints: its only way to say what is wrong. */
let complaints = [];
for (const level of ["log", "info", "warn", "error"]) {
  console[level] = (...words) => complaints.push(words.join(" "));
}

// A schema may unfold to more than any memory holds. Growth is refused like that of a full machine, which the library knows to report.
const grow = WebAssembly.Memory.prototype.grow;
WebAssembly.Memory.prototype.grow = function growWithin(pages) {
  if (this.buffer.byteLength + pages * 65536 > maxMemoryBytes) throw new RangeError("the grammar is too large");
  return grow.call(this, pages);
};

/**
 * `@mlc-ai/web-xgrammar` 0.1.27 calls itself an ES module, but its file is one for pages, and asks Node for what an ES module has not. So it is run as a
 * page's, without `process`. May go when `import` of the package works in Node (2026-11-28).
 */
function loadLibrary() {
  const path = createRequire(import.meta.url).resolve("@mlc-ai/web-xgrammar");
  const library = { exports: {} };
  const names = ["exports", "module", "require", "__filename", "process"];
  const run = compileFunction(readFileSync(path, "utf8"), names, { filename: path });
  run(library.exports, library, createRequire(path), path, undefined);
  return library.exports;
}

const { GrammarCompiler, GrammarMatcher, TokenizerInfo } = loadLibrary();

/** Tokens as bytes; those that no text writes are empty, which the library never allows. */
function tokenList() {
  const { bytes, ends } = vocabulary;
  return Array.from(ends, (end, id) => bytes.slice(id === 0 ? 0 : ends[id - 1], end));
}

const stops = stopToken === null ? undefined : [stopToken];
const tokenizer = await TokenizerInfo.createTokenizerInfo(tokenList(), "raw", false, vocabSize, stops ?? []);
const compiler = await GrammarCompiler.createGrammarCompiler(tokenizer, false);

let grammar = null;
let matcher = null;

async function compile({ schema, maxWhitespace }) {
  complaints = [];
  grammar = await compiler.compileJSONSchema(schema, true, undefined, undefined, true, maxWhitespace);
  matcher = await GrammarMatcher.createGrammarMatcher(grammar, stops, stopToken === null);
  await publish();
}

/** Writes down what may come next. */
async function publish() {
  mask.fill(0);
  if (matcher.isTerminated()) {
    if (stopToken !== null) mask[stopToken >> 5] |= 1 << (stopToken & 31);
    Atomics.store(control, cells.ends, 1);
    return;
  }
  mask.set((await matcher.getNextTokenBitmask()).subarray(0, mask.length));
  Atomics.store(control, cells.ends, isOnlyStop() ? 1 : 0);
}

function isOnlyStop() {
  if (stopToken === null) return false;
  const stopWord = stopToken >> 5;
  return mask.every((word, at) => word === (at === stopWord ? 1 << (stopToken & 31) : 0));
}

/** Follows a text until it is released. */
async function follow() {
  for (;;) {
    Atomics.wait(control, cells.state, states.done);
    const order = Atomics.load(control, cells.order);
    if (order === orders.release) return;
    const argument = Atomics.load(control, cells.argument);
    if (order === orders.rollback) matcher.rollBack(argument);
    else if (!matcher.acceptToken(argument)) throw new Error("a token came that the grammar does not allow");
    await publish();
    finish();
  }
}

function finish() {
  Atomics.store(control, cells.state, states.done);
  Atomics.notify(control, cells.state);
}

function tell(message) {
  parentPort.postMessage({ ...message, complaints });
}

parentPort.on("message", async (request) => {
  try {
    await compile(request);
    // In shared memory, too: the time of compiling must not depend on when the message is read.
    Atomics.store(control, cells.compiled, 1);
    tell({ kind: "compiled" });
    await follow();
    matcher.dispose();
    grammar.dispose();
    finish();
    tell({ kind: "released" });
  } catch (error) {
    Atomics.store(control, cells.failed, 1);
    finish();
    tell({ kind: "failed", message: String(error?.message ?? error) });
  }
});
tell({ kind: "ready" });
