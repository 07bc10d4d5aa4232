/** How fast a page reads its private file system, beside Node reading a file through the page cache: the same sizes, the same readers, in turns. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Random } from "@flashwick/core";
import { openFlashReader } from "@flashwick/flash-io/node";
import { bundle } from "./bundle.js";
import { launchProfile } from "./chromium.js";
import { openSite } from "./site.js";

const FILE_BYTES = 256 * 2 ** 20;
const READERS = [1, 4, 8];
const SIZES = [16384, 32768, 65536];
const SECONDS = 0.5;
const TURNS = 3;
const BATCH = 256;

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export async function measure(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "flashwick-rate-"));
  const path = join(dir, "noise.bin");
  const random = new Random(9);
  const noise = Uint32Array.from({ length: FILE_BYTES / 4 }, () => random.next());
  writeFileSync(path, new Uint8Array(noise.buffer));
  const site = await openSite();
  site.serve("/", "text/html", readFileSync(here("test-page.html"), "utf8"));
  site.serve("/page-worker.js", "text/javascript", await bundle(here("page-worker.ts")));
  site.serve(
    "/opfs-reader-worker.js",
    "text/javascript",
    await bundle(here("../../../packages/flash-io/src/opfs/opfs-reader-worker.js")),
  );
  site.serveFile("/noise.bin", path);
  const browser = await launchProfile(join(dir, "profile"));
  try {
    const page = await browser.newPage();
    await page.goto(site.origin);
    type Call = {
      call(name: string, args: object): Promise<{ result?: { bytesPerSec: number }; error?: { message: string } }>;
    };
    const call = async (name: string, args: object) => {
      const answer = await page.evaluate(([name, args]) => (window as unknown as Call).call(name, args), [
        name,
        args,
      ] as const);
      if (answer.error) throw new Error(answer.error.message);
      return answer.result!;
    };
    await call("importUrl", { url: `${site.origin}/noise.bin`, name: "noise.bin", verify: false });
    const rows: { size_bytes: number; readers: number; page: number; node: number; share: number }[] = [];
    for (const sizeBytes of SIZES) {
      for (const readers of READERS) {
        let [inPage, inNode] = [0, 0];
        for (let turn = 0; turn < TURNS; turn++) {
          const args = { name: "noise.bin", readers, sizeBytes, seconds: SECONDS };
          inPage += (await call("rate", args)).bytesPerSec / TURNS;
          inNode += (await nodeRate(path, readers, sizeBytes)) / TURNS;
        }
        rows.push({ size_bytes: sizeBytes, readers, page: inPage, node: inNode, share: inPage / inNode });
      }
    }
    console.table(
      rows.map((row) => ({
        ...row,
        page: `${(row.page / 1e6).toFixed(0)} MB/s`,
        node: `${(row.node / 1e6).toFixed(0)} MB/s`,
      })),
    );
    const machine = `${cpus()[0]!.model.trim()} x${cpus().length}`;
    const lines = rows.map((row) =>
      [...Object.values(row).map((value) => Number(value.toPrecision(5))), machine, process.version].join(","),
    );
    const head = "size_bytes,readers,page_bytes_per_sec,node_bytes_per_sec,share,machine,node";
    writeFileSync(here("../../../docs/results/opfs-rate.csv"), `${[head, ...lines].join("\n")}\n`);
  } finally {
    await browser.close();
    await site.close();
    rmSync(dir, { recursive: true });
  }
}

async function nodeRate(path: string, readers: number, sizeBytes: number): Promise<number> {
  const reader = await openFlashReader(path, { readers, direct: false, mergeGapBytes: 0 });
  await reader.grow(readers);
  const pages = Math.ceil((BATCH * sizeBytes) / 65536);
  const memory = new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer);
  const random = new Random(1);
  const blocks = Math.floor(FILE_BYTES / sizeBytes);
  let bytes = 0;
  const begin = performance.now();
  while (performance.now() - begin < 1000 * SECONDS) {
    const runs = Array.from({ length: BATCH }, (_, i) => ({
      offset: random.below(blocks) * sizeBytes,
      sizeBytes,
      pieces: [{ ptr: i * sizeBytes, sizeBytes }],
      picks: 1,
    }));
    reader.start(memory, runs);
    const pending = reader.wait();
    if (pending) await pending;
    bytes += BATCH * sizeBytes;
  }
  const ms = performance.now() - begin;
  await reader.close();
  return (1000 * bytes) / ms;
}
