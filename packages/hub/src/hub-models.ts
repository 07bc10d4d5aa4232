/** The models of a repository, by the names of its files: GGUF files, in one piece or split, and checkpoints that `convert` reads. Pure. */
import { FormatError, IoError } from "@flashwick/core";
import { checksumPath, sidecarPath } from "@flashwick/flash-format";
import type { HubFile, HubRepository } from "./hub-repository.js";
import { isPathPart } from "./model-address.js";

/** A model of a repository: its files, and the name that it gets here. */
export interface HubModel {
  readonly kind: "gguf" | "checkpoint";
  /** Of a GGUF: its file, or the first of a split one. Of a checkpoint: its folder in the repository, "" for the root. */
  readonly path: string;
  /** What it is on a disk: a file's name, or a folder's. */
  readonly localName: string;
  /** All that belong to it, the file with the header first: a GGUF's parts and what lies beside it, or config.json. */
  readonly files: readonly HubFile[];
  /** Of all of them. */
  readonly sizeBytes: number;
}

type Listing = Pick<HubRepository, "name" | "commit" | "files">;

const SPLIT = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;
/** Beside models, and none themselves: predictors, checksums, projectors of pictures, statistics for quantising. */
const NO_MODEL = /\.(predictor|crc32c)\.gguf$|(^|\/)mmproj[^/]*$|imatrix\.gguf$/i;
/** What conversion reads of a checkpoint beside its weights. */
const CHECKPOINT_TEXTS = [
  "config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "vocab.json",
  "merges.txt",
  "special_tokens_map.json",
  "added_tokens.json",
];
/** The forms of weights in the order in which conversion looks for them: a file or an index, and what belongs to it. */
const WEIGHTS = [
  { first: "model.safetensors", shards: null },
  { first: "model.safetensors.index.json", shards: /^model-\d+-of-\d+\.safetensors$/ },
  { first: "pytorch_model.bin", shards: null },
  { first: "pytorch_model.bin.index.json", shards: /^pytorch_model-\d+-of-\d+\.bin$/ },
] as const;

/**
 * The models that an address can mean: more than one where it does not say which.
 *
 * @param path A file, any file of a split model, or a folder; null: the whole repository. Its GGUF files come before a checkpoint.
 * @throws {IoError} `IO_NOT_FOUND` if there is none. {FormatError} `FORMAT_MISSING` for a split model that is not whole, or a checkpoint without weights.
 */
export function findModels(repository: Listing, path: string | null): readonly HubModel[] {
  const { files } = repository;
  if (path !== null && files.some((file) => file.path === path)) return [fileModel(repository, path)];
  const folder = path === null ? "" : `${path}/`;
  const inside = files.filter((file) => file.path.startsWith(folder));
  const names = inside.map((file) => file.path).filter((name) => name.endsWith(".gguf") && !NO_MODEL.test(name));
  const firsts = [...new Set(names.map(firstOfSplit))].sort();
  if (firsts.length > 0) return firsts.map((name) => ggufModel(repository, name));
  if (inside.some((file) => file.path === `${folder}config.json`)) return [checkpointModel(repository, folder)];
  throw notFound(repository, path);
}

function fileModel(repository: Listing, path: string): HubModel {
  if (path.endsWith(".gguf")) return ggufModel(repository, firstOfSplit(path));
  const message = `${repository.name}/${path}: expected a .gguf file or a folder; name the repository alone for a checkpoint`;
  throw new IoError("IO_NOT_FOUND", message, { details: { repository: repository.name, path } });
}

function firstOfSplit(path: string): string {
  const [, stem, , count] = SPLIT.exec(path) ?? [];
  return stem === undefined ? path : `${stem}-00001-of-${count}.gguf`;
}

function ggufModel({ name, files }: Listing, first: string): HubModel {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const parts = splitNames(first).map((path, i, all) => {
    const file = byPath.get(path);
    if (file) return file;
    const message = `${name}: file ${i + 1} of ${all.length}, ${path}, is missing in the repository; pull another model of it`;
    throw new FormatError("FORMAT_MISSING", message, { details: { repository: name, file: path } });
  });
  const beside = [sidecarPath(first), checksumPath(first)].flatMap((path) => byPath.get(path) ?? []);
  return modelOf("gguf", first, lastPart(first), [...parts, ...beside]);
}

function splitNames(first: string): readonly string[] {
  const [, stem, , count] = SPLIT.exec(first) ?? [];
  if (stem === undefined) return [first];
  return Array.from({ length: Number(count) }, (_, i) => `${stem}-${`${i + 1}`.padStart(5, "0")}-of-${count}.gguf`);
}

function checkpointModel(repository: Listing, folder: string): HubModel {
  const inFolder = repository.files.filter(
    ({ path }) => path.startsWith(folder) && !path.slice(folder.length).includes("/"),
  );
  const named = (name: string) => inFolder.find(({ path }) => path === folder + name);
  const weights = WEIGHTS.find(({ first }) => named(first));
  if (!weights) {
    const message = `${repository.name}: expected weights beside config.json (model.safetensors or pytorch_model.bin), found none; pull another repository`;
    throw new FormatError("FORMAT_MISSING", message, { details: { repository: repository.name } });
  }
  const texts = CHECKPOINT_TEXTS.flatMap((name) => named(name) ?? []);
  const shards = inFolder.filter(({ path }) => weights.shards?.test(path.slice(folder.length)));
  const localName = lastPart(folder === "" ? repository.name : folder.slice(0, -1));
  return modelOf("checkpoint", folder.slice(0, -1), localName, [...texts, named(weights.first)!, ...shards]);
}

function modelOf(kind: HubModel["kind"], path: string, localName: string, files: readonly HubFile[]): HubModel {
  for (const file of files) checkName(file);
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  return { kind, path, localName, files, sizeBytes };
}

/** A name that a server gives becomes a file's: it may not lead elsewhere. */
function checkName({ path }: HubFile): void {
  if (path.split("/").every(isPathPart)) return;
  throw new FormatError("FORMAT_INVALID", `${JSON.stringify(path)}: expected the path of a file below a folder`, {
    details: { path },
  });
}

/** The name of a file, without the folders before it. */
export function lastPart(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function notFound({ name, commit, files }: Listing, path: string | null): IoError {
  const there = files.map((file) => file.path).filter((file) => file.endsWith(".gguf"));
  const found =
    there.length > 0
      ? `found ${there.slice(0, 5).join(", ")}${there.length > 5 ? ` and ${there.length - 5} more` : ""}`
      : `found ${files.length} other files`;
  const what =
    path === null ? "expected a .gguf file, or config.json with weights" : `expected a file or folder ${path}`;
  return new IoError("IO_NOT_FOUND", `${name} at ${commit.slice(0, 12)}: ${what}, ${found}; name another`, {
    details: { repository: name, commit, path, gguf: there.slice(0, 100) },
  });
}
