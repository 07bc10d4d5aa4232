/** A zip archive of uncompressed entries, as torch.save writes them. APPNOTE 6.3.9, sections 4.3.7, 4.3.12 and 4.3.16. */

const LOCAL_BYTES = 30;
const ENTRY_BYTES = 46;
const END_BYTES = 22;

/** Checksums of entries are left at zero: our reader has no use for them. */
export function storedZip(entries: readonly (readonly [name: string, bytes: Uint8Array])[]): Uint8Array {
  const names = entries.map(([name]) => new TextEncoder().encode(name));
  const dataBytes = entries.reduce((sum, [, { length }], i) => sum + LOCAL_BYTES + names[i]!.length + length, 0);
  const directoryBytes = names.reduce((sum, { length }) => sum + ENTRY_BYTES + length, 0);
  const file = new Uint8Array(dataBytes + directoryBytes + END_BYTES);
  const view = new DataView(file.buffer);
  let [at, entryAt] = [0, dataBytes];
  for (const [i, [, bytes]] of entries.entries()) {
    const name = names[i]!;
    view.setUint32(at, 0x04034b50, true);
    view.setUint32(at + 18, bytes.length, true);
    view.setUint32(at + 22, bytes.length, true);
    view.setUint16(at + 26, name.length, true);
    file.set(name, at + LOCAL_BYTES);
    file.set(bytes, at + LOCAL_BYTES + name.length);
    view.setUint32(entryAt, 0x02014b50, true);
    view.setUint32(entryAt + 20, bytes.length, true);
    view.setUint32(entryAt + 24, bytes.length, true);
    view.setUint16(entryAt + 28, name.length, true);
    view.setUint32(entryAt + 42, at, true);
    file.set(name, entryAt + ENTRY_BYTES);
    at += LOCAL_BYTES + name.length + bytes.length;
    entryAt += ENTRY_BYTES + name.length;
  }
  view.setUint32(entryAt, 0x06054b50, true);
  view.setUint16(entryAt + 8, entries.length, true);
  view.setUint16(entryAt + 10, entries.length, true);
  view.setUint32(entryAt + 12, directoryBytes, true);
  view.setUint32(entryAt + 16, dataBytes, true);
  return file;
}
