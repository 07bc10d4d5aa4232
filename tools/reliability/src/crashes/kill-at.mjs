// @ts-nocheck: as file-operations.mjs.
/**
 * Ends this process, or fails it, at one of its file operations: `node --import <this file> program …`. What and where is told by the environment variable
 * `FLASHWICK_KILL_AT`, a JSON object.
 *
 * - `root`: only operations below this folder count.
 * - `mode`: `count` (only counts), `before`, `half` and `after` (SIGKILL before the operation, with half of its bytes or files done, or after it), `power` and
 *   `power-zeros` (as `before`, and what was not synced is lost), `ENOSPC` (a device that is full from there on), `EIO`, `EACCES` (this operation alone fails).
 * - `at`: the operation's number, from 0.
 * - `list`: a file that gets the operations as JSON, at the end.
 */
import { isMainThread } from "node:worker_threads";
import { losePower, original, watchOperations } from "./file-operations.mjs";

const { FLASHWICK_KILL_AT: told } = process.env;

if (told && isMainThread) {
  const { root, mode, at, list } = JSON.parse(told);
  const operations = [];
  await watchOperations(root, (operation) => stepOf(operation, operations.push(operation) - 1, mode, at));
  if (list) process.on("exit", () => original.writeFileSync(list, JSON.stringify(operations)));
}

const MESSAGES = { ENOSPC: "no space left on device", EIO: "i/o error", EACCES: "permission denied" };
const NEEDS_SPACE = new Set(["write", "mkdir", "copy"]);
const NAMES_A_PATH = new Set(["open", "rename", "unlink", "rm", "rmdir", "mkdir", "link", "copy"]);

function stepOf({ kind, path, hasHalves }, number, mode, at) {
  const isIt = number === at;
  const idle = { before: () => "all", after() {} };
  switch (mode) {
    case "before":
      return isIt ? { ...idle, before: die } : idle;
    case "half":
      return isIt && hasHalves ? { before: () => "half", after: die } : idle;
    case "after":
      return isIt ? { ...idle, after: die } : idle;
    case "power":
    case "power-zeros":
      return isIt ? { ...idle, before: () => dieWithPower(mode === "power-zeros") } : idle;
    case "ENOSPC":
      if (number < at || !NEEDS_SPACE.has(kind)) return idle;
      // The last bytes that fit are written, as a device does.
      return isIt && kind === "write" ? { before: () => "short", after() {} } : fail(mode, kind, path);
    case "EIO":
      return isIt ? fail(mode, kind, path) : idle;
    case "EACCES":
      return isIt && NAMES_A_PATH.has(kind) ? fail(mode, kind, path) : idle;
    default:
      return idle;
  }
}

function die() {
  process.kill(process.pid, "SIGKILL");
  for (;;);
}

function dieWithPower(zeros) {
  losePower(zeros);
  die();
}

function fail(code, kind, path) {
  return {
    before() {
      throw Object.assign(new Error(`${code}: ${MESSAGES[code]}, ${kind} '${path}'`), { code, syscall: kind, path });
    },
    after() {},
  };
}
