/** API keys, compared in constant time: what a wrong key shares with a right one cannot be measured. */

/** The keys of a server. Only their digests are kept. */
export class ApiKeys {
  readonly #digests: Promise<readonly Uint8Array[]>;

  /** @param keys At least one. */
  constructor(keys: readonly string[]) {
    this.#digests = Promise.all(keys.map(digest));
  }

  /** Whether an `Authorization` header brings one of the keys. Every key is compared, over its whole digest. */
  async admit(authorization: string | null): Promise<boolean> {
    const [, given = ""] = /^Bearer +(\S+) *$/i.exec(authorization ?? "") ?? [];
    const found = await digest(given);
    let admitted = 0;
    for (const expected of await this.#digests) admitted |= isEqual(found, expected);
    return admitted === 1 && given !== "";
  }
}

async function digest(key: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key)));
}

/** 1 or 0, without a branch. */
function isEqual(a: Uint8Array, b: Uint8Array): number {
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return Number(difference === 0);
}
