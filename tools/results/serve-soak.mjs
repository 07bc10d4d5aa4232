/**
 * Many clients that ask `flashwick serve` at random and leave at random, for minutes; writes docs/results/serve.md and serve.csv:
 *
 *     pnpm build && node tools/results/serve-soak.mjs <model.gguf> [--clients 64] [--rude 0.5] [--minutes 10] [--max-sequences 4] [--max-queue 64]
 *         [-- <flags of serve>]
 *
 * A share of the clients is rude (src/rude-clients.mjs). Every answer to the others is compared with the same request run alone, which is computed first.
 * The script fails if one differs, if a client is starved, if the server has forgotten a connection, or if it holds more at the end than at the beginning.
 */
import { execFileSync, spawn } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { openModel } from "@flashwick/runtime/node";
import { median } from "./src/in-turns.mjs";
import { machineName } from "./src/machine-name.mjs";
import { markdownTable, writeTable } from "./src/results-table.mjs";
import { RUDE_KINDS, runRudeClient } from "./src/rude-clients.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";
import { makeRequests, randomNumbers, runClient } from "./src/soak-clients.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const {
  words: [path],
  flags,
  more: serveFlags,
} = scriptArguments({
  usage: "serve-soak.mjs <model.gguf> [--clients n] [--rude share] [--minutes n] [-- <flags of flashwick serve>]",
  words: 1,
  flags: {
    clients: "64",
    rude: "0.5",
    minutes: "10",
    requests: "48",
    seed: "1",
    "max-sequences": "4",
    "max-queue": "64",
  },
});
const CONTEXT_TOKENS = 128;
/** Of the whole run, before resident size is looked at: engine, code and caches have come to their size then. */
const WARM_UP_SHARE = 0.2;
/** How much the resident size may grow between the first and the last quarter after that. */
const FLAT_SHARE = 0.02;

/** The server ends a connection that has been idle for 75 s; those of the polite clients are. */
const CLOSING_MS = 100_000;
const LOOK_MS = 1000;

const rudeClients = Math.round(Number(flags.rude) * Number(flags.clients));
const politeClients = Number(flags.clients) - rudeClients;
const random = randomNumbers(Number(flags.seed));
const asked = makeRequests(
  readFileSync(join(root, "packages/demo-models/texts/evaluation.txt"), "utf8"),
  Number(flags.requests),
  random,
);

/** What the engine gives to each request alone. */
async function runAlone() {
  const model = await openModel(path, { contextTokens: CONTEXT_TOKENS });
  const expected = [];
  for (const { prompt, ...options } of asked) {
    const run = model.generate(prompt, options);
    let text = "";
    let step = await run.next();
    for (; !step.done; step = await run.next()) text += step.value.text;
    expected.push({ text, tokens: step.value.tokens.length });
  }
  await model.close();
  return expected;
}

/** The server as it is built, in a process of its own. */
async function startServer() {
  const program = join(root, "apps/cli/dist/flashwick.js");
  const argv = ["serve", path, "--port", "0", "--json", "--quiet", "--context", String(CONTEXT_TOKENS)];
  const limits = ["--max-sequences", flags["max-sequences"], "--max-queue", flags["max-queue"]];
  const child = spawn(process.execPath, [program, ...argv, ...limits, ...serveFlags], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const line = await new Promise((resolve, reject) => {
    lines.once("line", resolve);
    child.once("exit", (status) => reject(new Error(`the server ended with status ${status}`)));
  });
  return { child, ended, ...JSON.parse(line) };
}

/** Resident bytes of a process. */
function residentBytes(pid) {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(kib) * 1024;
}

/** Open descriptors and threads of a process. */
function held(pid) {
  const count = (folder) => readdirSync(`/proc/${pid}/${folder}`).length;
  return { descriptors: count("fd"), threads: count("task") };
}

/** The same, when it is no more than before, or when the server should have closed everything. */
async function heldAtLast(pid, before) {
  for (let waitedMs = 0; ; waitedMs += LOOK_MS) {
    const now = held(pid);
    if (now.descriptors <= before.descriptors || waitedMs >= CLOSING_MS) return now;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

async function soak(server, expected) {
  const startMs = performance.now();
  const endMs = startMs + 60_000 * Number(flags.minutes);
  const outcomes = [];
  const rude = [];
  const sizes = [];
  const { url, model } = server;
  const { pid } = server.child;
  const look = () => sizes.push({ seconds: (performance.now() - startMs) / 1000, resident_bytes: residentBytes(pid) });
  const timer = setInterval(look, Math.max(1000, (endMs - startMs) / 120));
  const isOver = () => performance.now() >= endMs;
  const seeded = (client) => randomNumbers(Number(flags.seed) + 1000 + client);
  const polite = Array.from({ length: politeClients }, (_, client) =>
    runClient({ url, model, asked, expected, isOver, random: seeded(client) }, (outcome) =>
      outcomes.push({ client, ...outcome }),
    ),
  );
  const { hostname: host, port } = new URL(url);
  const target = { host, port: Number(port), path: "/v1/completions", bodies: asked.map((one) => bodyOf(model, one)) };
  const others = Array.from({ length: rudeClients }, (_, client) =>
    runRudeClient({ ...target, isOver, random: seeded(politeClients + client) }, (outcome) => rude.push(outcome)),
  );
  await Promise.all([...polite, ...others]);
  clearInterval(timer);
  look();
  return { outcomes, rude, sizes, seconds: (performance.now() - startMs) / 1000 };
}

/** A streamed request. */
function bodyOf(model, { prompt, maxTokens, temperature, seed }) {
  return JSON.stringify({ model, prompt, max_tokens: maxTokens, temperature, seed, stream: true });
}

function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}

/** Resident size early and late, after the warm-up. */
function drift(sizes) {
  const warm = sizes.slice(Math.floor(WARM_UP_SHARE * sizes.length)).map((size) => size.resident_bytes);
  const quarter = Math.max(1, warm.length >> 2);
  const [early, late] = [median(warm.slice(0, quarter)), median(warm.slice(-quarter))];
  return { early, late, share: late / early - 1 };
}

async function figures(url) {
  const text = await (await fetch(`${url}/metrics`)).text();
  const value = (name) => Number(new RegExp(`^flashwick_${name} (\\S+)$`, "m").exec(text)?.[1] ?? 0);
  return {
    tokens: value("tokens_total"),
    promptTokens: value("prompt_tokens_total"),
    reused: value("prompt_tokens_reused_total"),
  };
}

const expected = await runAlone();
const server = await startServer();
await figures(server.url);
const before = held(server.child.pid);
const { outcomes, rude, sizes, seconds } = await soak(server, expected);
const counted = await figures(server.url);
const after = await heldAtLast(server.child.pid, before);
server.child.kill("SIGTERM");
await server.ended;

const of = (kind) => outcomes.filter((outcome) => outcome.kind === kind);
const answered = [...of("whole"), ...of("left")];
const size = drift(sizes);
const served = new Set(answered.map(({ client }) => client)).size;
const wrong = of("wrong");
const visits = RUDE_KINDS.map((kind) => {
  const own = rude.filter((visit) => visit.kind === kind);
  const ended = (end) => own.filter((visit) => visit.end === end).length;
  const statuses = [...new Set(own.flatMap(({ status }) => status ?? []))].sort((a, b) => a - b).join(", ");
  return {
    kind,
    visits: own.length,
    statuses,
    ...{ answered: ended("answered"), closed: ended("closed"), left: ended("left"), forgotten: ended("forgotten") },
  };
});
const visitHeads = {
  kind: "rude clients",
  visits: "visits",
  answered: "answered",
  statuses: "statuses",
  closed: "closed without an answer",
  left: "left by the client",
  forgotten: "open after 180 s",
};
const row = {
  clients: politeClients,
  sequences: Number(flags["max-sequences"]),
  seconds,
  whole: of("whole").length,
  left: of("left").length,
  refused: of("refused").length,
  wrong: wrong.length,
  tokensPerSec: counted.tokens / seconds,
  firstP50: percentile(
    answered.flatMap(({ firstMs }) => firstMs ?? []),
    0.5,
  ),
  firstMost: percentile(
    answered.flatMap(({ firstMs }) => firstMs ?? []),
    1,
  ),
  mostMs: percentile(
    answered.map(({ ms }) => ms),
    1,
  ),
};
const heads = {
  clients: "polite clients",
  sequences: "sequences",
  seconds: "seconds",
  whole: "answers read whole",
  left: "left half-way",
  refused: "refused (429)",
  wrong: "not as alone",
  tokensPerSec: "tokens a second",
  firstP50: "first event, ms, median",
  firstMost: "longest, ms",
  mostMs: "longest request, ms",
};
const machine = machineName();
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root }).toString().trim();
const mib = (bytes) => (bytes / 2 ** 20).toFixed(1);
const command = ["node tools/results/serve-soak.mjs", basename(path), ...process.argv.slice(3)].join(" ");
const sameness =
  wrong.length > 0
    ? `${wrong.length} answers differ from the same request run alone.`
    : "Every answer that was read to its end equals the text of the same request run alone with the same seed, and every\nanswer that a client left is the beginning of that text.";
const page = `# Many clients of one server

${new Date().toISOString().slice(0, 10)}. One run of

\`\`\`sh
pnpm build && ${command}
\`\`\`

on ${machine}, Node ${process.version}, commit ${commit}. Of ${flags.clients} clients ${rudeClients} are rude. Each of the others makes one of ${asked.length} requests at
random, one after the other. They left ${of("left").length} of ${answered.length} answers half-way. Half of the requests begin alike: ${counted.reused} of ${counted.promptTokens} prompt tokens
were computed once and reused.

${markdownTable(heads, [row])}

${sameness}
${served} of ${politeClients} polite clients were served.

${markdownTable(visitHeads, visits)}

After a warm-up of ${100 * WARM_UP_SHARE} %, the median resident size of the server's process was
${mib(size.early)} MiB in the first quarter and ${mib(size.late)} MiB in the last, a difference of ${(100 * size.share).toFixed(2)} % ([every sample](serve.csv)). It had ${before.descriptors} descriptors and
${before.threads} threads before the first client and ${after.descriptors} and ${after.threads} when idle connections had been closed.
`;
writeTable("serve.csv", sizes);
writeFileSync(join(root, "docs/results/serve.md"), page);
console.log(page);
for (const { what } of wrong.slice(0, 10)) console.error(`not as alone: ${what}`);
const failures = [
  ...(wrong.length > 0 ? [`${wrong.length} answers are not those of the request alone`] : []),
  ...(served < politeClients ? [`${politeClients - served} clients were never served`] : []),
  ...(visits.some(({ forgotten }) => forgotten > 0) ? ["connections were open after 180 s"] : []),
  ...(after.descriptors > before.descriptors ? [`${after.descriptors - before.descriptors} descriptors are left`] : []),
  ...(size.share > FLAT_SHARE ? [`the resident size grew by ${(100 * size.share).toFixed(2)} %`] : []),
];
if (failures.length > 0) {
  console.error(failures.join("; "));
  process.exitCode = 1;
}
