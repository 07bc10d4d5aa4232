/** Whether bytes are the content that a hub names: its SHA-256, or git's SHA-1 of a file outside of LFS. */
import { IntegrityError } from "@flashwick/core";
import { sha1 } from "@noble/hashes/legacy.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import type { HubFile } from "./hub-repository.js";

/** A hash that is still being fed. */
export interface Hash {
  /** Takes the next bytes. */
  update(bytes: Uint8Array): unknown;
  /** The hash of all bytes; nothing can follow. */
  digest(): Uint8Array;
}

/** Makes a hash that takes bytes piece by piece. */
export type CreateHash = (algorithm: "sha1" | "sha256") => Hash;

/** Works everywhere, at some hundred MB/s; Node's own is several times as fast. */
const createPlainHash: CreateHash = (algorithm) => (algorithm === "sha1" ? sha1 : sha256).create();

/** The hashes of downloaded bytes, and whether they are the hub's. */
export interface CheckedContent {
  /** In hexadecimal digits. */
  readonly sha256: string;
  /** In the hub's way of naming this file's content. */
  readonly found: string;
  readonly isSame: boolean;
}

/** Holds downloaded bytes against the hash that the hub names. */
export class ContentCheck {
  readonly #file: HubFile;
  readonly #sha256: Hash;
  /** Of a file outside of LFS. */
  readonly #gitSha1: Hash | null;

  constructor(file: HubFile, createHash: CreateHash = createPlainHash) {
    this.#file = file;
    this.#sha256 = createHash("sha256");
    this.#gitSha1 = file.content.kind === "git-sha1" ? createHash("sha1") : null;
    this.#gitSha1?.update(utf8ToBytes(`blob ${file.sizeBytes}\0`));
  }

  /** The next bytes of the file, from its beginning. */
  update(bytes: Uint8Array): void {
    this.#sha256.update(bytes);
    this.#gitSha1?.update(bytes);
  }

  /** What the bytes come to, after the last of them; called once. */
  finish(): CheckedContent {
    const { hex } = this.#file.content;
    const sha256 = bytesToHex(this.#sha256.digest());
    const found = this.#gitSha1 ? bytesToHex(this.#gitSha1.digest()) : sha256;
    return { sha256, found, isSame: found === hex };
  }

  /**
   * The SHA-256 of the bytes, if they are the file.
   *
   * @param where For the message: where they are.
   * @throws {IntegrityError} `INTEGRITY_DOWNLOAD` if they are another content.
   */
  demand(where: string): string {
    const { sha256, found, isSame } = this.finish();
    if (isSame) return sha256;
    const { path, content } = this.#file;
    throw new IntegrityError(
      "INTEGRITY_DOWNLOAD",
      `${where}: expected the ${content.kind} ${content.hex} that the hub lists for ${path}, found ${found}; the bytes are damaged or of another file, pull it again`,
      { details: { file: path, kind: content.kind, expected: content.hex, found } },
    );
  }
}
