/**
 * Our reader against fio: node bench/read.bench.mjs <file> [--seconds 1] [--sizes 8,16] [--depths 8,16] [--json | --csv]
 *
 * The file should hold real bytes and be much larger than any cache of the device. Build the package first.
 */

import { parseArgs } from "node:util";
import { bestRows, measureReads } from "../dist/node.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "1" },
    /** KiB. */
    sizes: { type: "string", default: "4,8,16,32,64,128,256,512,1024" },
    depths: { type: "string", default: "1,2,4,8,16,32,64" },
    /** psync: a thread a read, as ours; by default fio's fastest. */
    engine: { type: "string" },
    json: { type: "boolean", default: false },
    csv: { type: "boolean", default: false },
  },
});
const numbers = (list) => list.split(",").map(Number);
const mb = (bytesPerSec) => (bytesPerSec === null ? "no fio" : (bytesPerSec / 1e6).toFixed(0));
const share = (row) => (row.share === null ? "" : `${(100 * row.share).toFixed(0)} %`);

const path = positionals[0];
if (!path) {
  console.error(
    "usage: node bench/read.bench.mjs <file> [--seconds 1] [--sizes 8,16] [--depths 8,16] [--json | --csv]",
  );
  process.exit(2);
}
if (values.csv) console.log("size_bytes,depth,mode,bytes_per_sec,fio_bytes_per_sec,share");
const rows = await measureReads(path, {
  sizes: numbers(values.sizes).map((kib) => kib * 1024),
  depths: numbers(values.depths),
  secondsEach: Number(values.seconds),
  ...(values.engine ? { fioEngine: values.engine } : {}),
  onRow(row) {
    if (values.json) return;
    const { sizeBytes, depth, mode, bytesPerSec, fioBytesPerSec } = row;
    if (values.csv) console.log([sizeBytes, depth, mode, bytesPerSec, fioBytesPerSec, row.share].join(","));
    else
      console.log(
        `${sizeBytes / 1024} KiB x ${depth}\t${mb(bytesPerSec)} MB/s\tfio ${mb(fioBytesPerSec)}\t${share(row)}`,
      );
  },
});
const best = bestRows(rows);
if (values.json) console.log(JSON.stringify({ rows, best }, null, 2));
else if (!values.csv) {
  console.log("\nbest depth of each side");
  for (const row of best) {
    console.log(
      `${row.sizeBytes / 1024} KiB\t${mb(row.bytesPerSec)} MB/s at ${row.depth}\tfio ${mb(row.fioBytesPerSec)} at ${row.fioDepth}\t${share(row)}`,
    );
  }
}
