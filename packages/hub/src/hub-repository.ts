/**
 * A model repository of a hub at one commit: its files, their sizes and what names their contents.
 *
 * Listing and revisions are `@huggingface/hub`'s; everything that is read afterwards is read at the commit, so that a branch that moves meanwhile changes
 * nothing.
 */
import { FormatError, IntegrityError, isFlashwickError } from "@flashwick/core";
import { type HttpSource, httpSource } from "@flashwick/flash-io/http";
import { listFiles, modelInfo } from "@huggingface/hub";
import * as v from "valibot";
import { connectHub, type HubConnection, type HubOptions } from "./hub-connection.js";

/** What a hub names a content by: the SHA-256 of a file in LFS, git's own name of any other. */
export interface ContentName {
  /** `git-sha1`: over `blob <size>`, a zero byte and the bytes. */
  readonly kind: "sha256" | "git-sha1";
  /** In lower case. */
  readonly hex: string;
}

/** A file of a repository, with its size and the hash of its content. */
export interface HubFile {
  /** In the repository, with `/`. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly content: ContentName;
}

/** Revision, and how the hub is asked. */
export interface OpenRepositoryOptions extends HubOptions {
  /** Branch, tag or commit. Default: main. */
  readonly revision?: string | undefined;
}

const COMMIT = /^[0-9a-f]{40}$/;
/** Of data sets; the largest repositories of models have some thousands. */
const MAX_ENTRIES = 100_000;

const size = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER));
const treeEntry = v.object({
  type: v.string(),
  path: v.pipe(v.string(), v.maxLength(4096)),
  size,
  oid: v.string(),
  lfs: v.nullish(v.object({ oid: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)), size })),
});

/**
 * Finds a repository, pins its revision to a commit, and lists its files.
 *
 * @param name `owner/name`, or `name`.
 * @throws {IoError} `IO_NOT_FOUND` for no such repository or revision, `IO_DENIED` for a private or gated one, `IO_RATE_LIMIT`, `IO_READ` for a network or a
 * hub that fails every time. {FormatError} `FORMAT_INVALID` for answers that are not a hub's, `FORMAT_LIMIT` for listings and documents without end. {InputError} as `HubOptions`. The signal's own reason.
 * Cost: two requests, and one more for each thousand files.
 */
export async function openRepository(name: string, options: OpenRepositoryOptions = {}): Promise<HubRepository> {
  const hub = connectHub(options);
  const { revision = "main" } = options;
  return await asHubAnswer(`${hub.endpoint}/${name}`, options.signal, async () => {
    const commit = COMMIT.test(revision) ? revision : await findCommit(hub, name, revision);
    return new PinnedRepository(hub, name, commit, await readTree(hub, name, commit));
  });
}

/** A repository at one commit. */
export interface HubRepository {
  readonly name: string;
  /** 40 hexadecimal digits. */
  readonly commit: string;
  readonly files: readonly HubFile[];
  /** How requests for its files are made: with the hub's token if they go to the hub. */
  readonly fetch: typeof fetch;
  /** Where a file's bytes are, at the commit. */
  url(file: HubFile): string;
  /**
   * Opens a file for reading over the network.
   *
   * @throws As `httpSource`, and as {@link openRepository}. {IntegrityError} `INTEGRITY_DOWNLOAD` if it has another size than is listed.
   */
  open(file: HubFile): Promise<HttpSource>;
}

class PinnedRepository implements HubRepository {
  readonly name: string;
  readonly commit: string;
  readonly files: readonly HubFile[];
  readonly fetch: typeof fetch;
  readonly #hub: HubConnection;

  constructor(hub: HubConnection, name: string, commit: string, files: readonly HubFile[]) {
    this.#hub = hub;
    this.name = name;
    this.commit = commit;
    this.files = files;
    this.fetch = hub.fetch;
  }

  url({ path }: HubFile): string {
    const { endpoint } = this.#hub;
    return `${endpoint}/${this.name}/resolve/${this.commit}/${path.split("/").map(encodeURIComponent).join("/")}`;
  }

  async open(file: HubFile): Promise<HttpSource> {
    const source = await httpSource(this.url(file), { ...requestOptions(this.#hub.retry), fetch: this.fetch });
    if (source.sizeBytes === file.sizeBytes) return source;
    await source.close();
    throw new IntegrityError(
      "INTEGRITY_DOWNLOAD",
      `${this.url(file)}: expected ${file.sizeBytes} bytes, as the hub lists, found ${source.sizeBytes}; pull it from another endpoint`,
      { details: { file: file.path, expectedBytes: file.sizeBytes, foundBytes: source.sizeBytes } },
    );
  }
}

function requestOptions({ signal, ...options }: HubConnection["retry"]) {
  return signal ? { ...options, signal } : options;
}

async function findCommit({ endpoint, fetchAnswer }: HubConnection, name: string, revision: string): Promise<string> {
  const info = await modelInfo({ name, revision, additionalFields: ["sha"], hubUrl: endpoint, fetch: fetchAnswer });
  return v.parse(v.pipe(v.string(), v.regex(COMMIT)), info.sha);
}

async function readTree(hub: HubConnection, name: string, commit: string): Promise<HubFile[]> {
  const files: HubFile[] = [];
  let entries = 0;
  const repo = { type: "model", name } as const;
  const tree = listFiles({ repo, recursive: true, revision: commit, hubUrl: hub.endpoint, fetch: hub.fetchAnswer });
  for await (const found of tree) {
    if (++entries > MAX_ENTRIES) {
      const message = `${hub.endpoint}/${name}: expected at most ${MAX_ENTRIES} files and folders, found more; pull from another repository`;
      throw new FormatError("FORMAT_LIMIT", message);
    }
    const { type, path, size, oid, lfs } = v.parse(treeEntry, found);
    if (type !== "file") continue;
    const content: ContentName = lfs ? { kind: "sha256", hex: lfs.oid } : { kind: "git-sha1", hex: gitName(oid) };
    files.push({ path, sizeBytes: lfs?.size ?? size, content });
  }
  return files;
}

function gitName(oid: string): string {
  return v.parse(v.pipe(v.string(), v.regex(COMMIT)), oid);
}

/** What is neither a typed error nor an abort comes from an answer in another form than a hub's. */
async function asHubAnswer<T>(where: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    signal?.throwIfAborted();
    if (isFlashwickError(cause)) throw cause;
    const message = `${where}: expected the answer of a hub, found another (${(cause as Error).message}); check the endpoint`;
    throw new FormatError("FORMAT_INVALID", message, { cause, details: { url: where } });
  }
}
