// @ts-nocheck: it replaces functions of node:fs by others of the same signatures, which are nobody's but Node's.
/**
 * Every operation of this process that changes the file system below a folder passes through one function. That is done in Node's own modules, so that the
 * program under it is the one that users have.
 *
 * Invariants: operations are numbered from 0 in the order in which they begin. `writeFile` is an opening and a write; whatever else Node does inside of one of
 * its functions counts as that function. Reads, and whatever lies outside of the folder, are not touched. Threads beside the main one are not watched.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join, resolve, sep } from "node:path";

const { promises } = fs;
/** Node's own, for whoever must not be seen. */
export const original = { ...fs, promises: { ...promises } };

/** Bytes of files that no sync has made durable: by file, not by name, since files are renamed. */
class FileState {
  /** What a device that loses its power keeps, bytes. */
  syncedBytes = 0;
  isDirty = false;
}

/** What was written and not synced, by the file's present name. */
export const states = new Map();

let root = "";
/** @type {(operation: { kind: string, path: string, hasHalves: boolean }) => { before(): "all" | "half" | "short", after(): void }} */
let watch;
/** Node's own functions call each other. */
let isInside = false;

/** Begins to watch what happens below `folder`. @param watcher Asked once for each operation. */
export async function watchOperations(folder, watcher) {
  [root, watch] = [resolve(folder), watcher];
  const probe = await original.promises.open(process.execPath, "r");
  const handles = Object.getPrototypeOf(probe);
  await probe.close();
  replaceSync();
  replacePromises();
  replaceHandles(handles);
  syncBuiltinESMExports();
}

const fds = new Map();
const ofHandle = new WeakMap();

function concerns(path) {
  return path !== undefined && !isInside && (path === root || path.startsWith(root + sep));
}

function operate(kind, path, all, half) {
  if (!concerns(path)) return all();
  const step = watch({ kind, path, hasHalves: half !== undefined });
  const extent = step.before();
  isInside = true;
  try {
    if (extent === "short") return half();
    if (extent === "half") half();
    else return all();
  } finally {
    isInside = false;
    step.after();
  }
}

async function operateAsync(kind, path, all, half) {
  if (!concerns(path)) return await all();
  const step = watch({ kind, path, hasHalves: half !== undefined });
  const extent = step.before();
  if (extent === "short") return await half();
  if (extent === "half") {
    await half();
    return step.after();
  }
  const result = await all();
  step.after();
  return result;
}

function writes(flags) {
  if (typeof flags === "number")
    return (flags & (fs.constants.O_WRONLY | fs.constants.O_RDWR | fs.constants.O_CREAT)) !== 0;
  return flags !== "r" && flags !== undefined;
}

function truncates(flags) {
  return typeof flags === "number" ? (flags & fs.constants.O_TRUNC) !== 0 : flags.startsWith("w");
}

/** The state of a file that was opened, as it was before. */
function opened(path, flags, sizeBefore) {
  if (!writes(flags)) return states.get(path) ?? new FileState();
  let state = states.get(path);
  if (!state || sizeBefore === null) {
    state = new FileState();
    state.syncedBytes = sizeBefore ?? 0;
    states.set(path, state);
  }
  if (sizeBefore === null) state.isDirty = true;
  else if (truncates(flags)) Object.assign(state, { syncedBytes: 0, isDirty: true });
  return state;
}

function sizeOf(path) {
  return original.statSync(path, { throwIfNoEntry: false })?.size ?? null;
}

function synced(state, sizeBytes) {
  if (state) Object.assign(state, { syncedBytes: sizeBytes, isDirty: false });
}

function written(state) {
  if (state) state.isDirty = true;
}

function renamed(from, to) {
  const state = states.get(from);
  states.delete(from);
  states.delete(to);
  if (state) states.set(to, state);
}

function replaceSync() {
  fs.openSync = (path, flags = "r", mode = undefined) => {
    const full = resolve(String(path));
    const open = () => {
      const before = concernsFile(full) ? sizeOf(full) : null;
      const fd = original.openSync(path, flags, mode);
      fds.set(fd, { path: full, state: opened(full, flags, before) });
      return fd;
    };
    return writes(flags) ? operate("open", full, open) : open();
  };
  fs.closeSync = (fd) => {
    fds.delete(fd);
    original.closeSync(fd);
  };
  fs.writeSync = (fd, data, ...place) => {
    const file = fds.get(fd);
    const bytes = bytesOf(data, place);
    const write = (part) => {
      written(file?.state);
      return original.writeSync(fd, part, 0, part.length, bytes.position);
    };
    if (!file) return original.writeSync(fd, data, ...place);
    return operate(
      "write",
      file.path,
      () => write(bytes.part),
      () => write(halfOf(bytes.part)),
    );
  };
  const onFd =
    (kind, act) =>
    (fd, ...rest) => {
      const file = fds.get(fd);
      return operate(kind, file?.path, () => {
        const result = act(fd, ...rest);
        if (kind === "sync") synced(file?.state, original.fstatSync(fd).size);
        else written(file?.state);
        return result;
      });
    };
  fs.ftruncateSync = onFd("truncate", original.ftruncateSync);
  fs.fsyncSync = onFd("sync", original.fsyncSync);
  fs.fdatasyncSync = onFd("sync", original.fdatasyncSync);
  fs.writeFileSync = (path, data, options) => {
    if (typeof path === "number" || !concernsFile(resolve(String(path))))
      return original.writeFileSync(path, data, options);
    const { flag = "w", mode, flush = false } = typeof options === "object" && options ? options : {};
    const fd = fs.openSync(path, flag, mode);
    try {
      const bytes = joined(data);
      for (let done = 0; done < bytes.length; ) done += fs.writeSync(fd, bytes, done, bytes.length - done);
      if (flush) fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  };
  fs.renameSync = (from, to) =>
    operate("rename", resolve(String(to)), () => {
      original.renameSync(from, to);
      renamed(resolve(String(from)), resolve(String(to)));
    });
  for (const [name, kind] of [
    ["unlinkSync", "unlink"],
    ["rmdirSync", "rmdir"],
    ["mkdirSync", "mkdir"],
    ["mkdtempSync", "mkdir"],
  ]) {
    fs[name] = (path, ...rest) =>
      operate(kind, resolve(String(path)), () => {
        if (kind === "unlink") states.delete(resolve(String(path)));
        return original[name](path, ...rest);
      });
  }
  fs.rmSync = (path, options) =>
    operate("rm", resolve(String(path)), () => original.rmSync(path, options), halfOfTree(path, options));
}

/** As {@link concerns}, of a file that is being opened inside of an operation. */
function concernsFile(path) {
  return path.startsWith(root + sep);
}

function replacePromises() {
  promises.open = async (path, flags = "r", mode = undefined) => {
    const full = resolve(String(path));
    const open = async () => {
      const before = concernsFile(full) ? sizeOf(full) : null;
      const handle = await original.promises.open(path, flags, mode);
      ofHandle.set(handle, { path: full, state: opened(full, flags, before) });
      return handle;
    };
    return writes(flags) ? await operateAsync("open", full, open) : await open();
  };
  promises.writeFile = async (path, data, options) => {
    if (typeof path === "object" || !concernsFile(resolve(String(path))))
      return await original.promises.writeFile(path, data, options);
    const { flag = "w", mode, flush = false } = typeof options === "object" && options ? options : {};
    const handle = await promises.open(path, flag, mode);
    try {
      const bytes = joined(data);
      for (let done = 0; done < bytes.length; ) {
        done += (await handle.write(bytes, done, bytes.length - done)).bytesWritten;
      }
      if (flush) await handle.sync();
    } finally {
      await handle.close();
    }
  };
  promises.rename = (from, to) =>
    operateAsync("rename", resolve(String(to)), async () => {
      await original.promises.rename(from, to);
      renamed(resolve(String(from)), resolve(String(to)));
    });
  for (const [name, kind] of [
    ["unlink", "unlink"],
    ["rmdir", "rmdir"],
    ["mkdir", "mkdir"],
    ["mkdtemp", "mkdir"],
    ["utimes", "utimes"],
  ]) {
    promises[name] = (path, ...rest) =>
      operateAsync(kind, resolve(String(path)), () => {
        if (kind === "unlink") states.delete(resolve(String(path)));
        return original.promises[name](path, ...rest);
      });
  }
  promises.rm = (path, options) =>
    operateAsync("rm", resolve(String(path)), () => original.promises.rm(path, options), halfOfTree(path, options));
  promises.link = (from, to) =>
    operateAsync("link", resolve(String(to)), async () => {
      await original.promises.link(from, to);
      const state = states.get(resolve(String(from)));
      if (state) states.set(resolve(String(to)), state);
    });
  promises.copyFile = (from, to, mode) => {
    const full = resolve(String(to));
    const dirty = () => {
      const state = new FileState();
      state.isDirty = true;
      states.set(full, state);
    };
    return operateAsync(
      "copy",
      full,
      async () => {
        await original.promises.copyFile(from, to, mode);
        dirty();
      },
      async () => {
        original.writeFileSync(to, halfOf(original.readFileSync(from)));
        dirty();
      },
    );
  };
}

function replaceHandles(handles) {
  const own = { write: handles.write, truncate: handles.truncate, sync: handles.sync, datasync: handles.datasync };
  handles.write = async function (data, ...place) {
    const file = ofHandle.get(this);
    if (!file || !concerns(file.path)) return await own.write.call(this, data, ...place);
    const bytes = bytesOf(data, place);
    const write = async (part) => {
      written(file.state);
      return await own.write.call(this, part, 0, part.length, bytes.position);
    };
    return await operateAsync(
      "write",
      file.path,
      () => write(bytes.part),
      () => write(halfOf(bytes.part)),
    );
  };
  handles.truncate = async function (...rest) {
    const file = ofHandle.get(this);
    return await operateAsync("truncate", file?.path, async () => {
      await own.truncate.call(this, ...rest);
      written(file?.state);
    });
  };
  for (const name of ["sync", "datasync"]) {
    handles[name] = async function () {
      const file = ofHandle.get(this);
      return await operateAsync("sync", file?.path, async () => {
        await own[name].call(this);
        synced(file?.state, original.fstatSync(this.fd).size);
      });
    };
  }
}

/** What a call of `write` means: its bytes, and their place in the file (null: at its end). */
function bytesOf(data, [offset, length, position]) {
  if (typeof data === "string")
    return { part: Buffer.from(data), position: typeof offset === "number" ? offset : null };
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const given = typeof offset === "object" && offset !== null ? offset : { offset, length, position };
  const from = given.offset ?? 0;
  const part = bytes.subarray(from, from + (given.length ?? bytes.length - from));
  return { part, position: given.position ?? null };
}

function joined(data) {
  if (typeof data === "string") return Buffer.from(data);
  if (ArrayBuffer.isView(data)) return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return Buffer.concat([...data]);
}

function halfOf(bytes) {
  return bytes.subarray(0, bytes.length >> 1);
}

/** Removes half of the files of a tree, those that come first; undefined where it is none. */
function halfOfTree(path, options) {
  if (!options?.recursive) return undefined;
  return () => {
    const entries = original.existsSync(path) ? original.readdirSync(path, { recursive: true }) : [];
    const files = entries.map((name) => join(String(path), name)).filter((name) => original.statSync(name).isFile());
    for (const file of files.sort().slice(0, files.length >> 1)) original.unlinkSync(file);
  };
}

/**
 * What a device keeps that loses its power now: what was synced, and names. Of the rest either nothing is there, or (`zeros`) zeros in place of large
 * files' bytes while small files made it.
 */
export function losePower(zeros) {
  for (const [path, state] of states) {
    const size = sizeOf(path);
    if (!state.isDirty || size === null) continue;
    if (!zeros) original.truncateSync(path, Math.min(size, state.syncedBytes));
    else if (size > 4096 && size > state.syncedBytes) {
      original.truncateSync(path, state.syncedBytes);
      original.truncateSync(path, size);
    }
  }
}
