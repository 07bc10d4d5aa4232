/** What we use of the file system's interfaces and no library of types has yet: modes of handles, and moving a file. */
export interface SyncHandle {
  read(buffer: ArrayBufferView, options: { readonly at: number }): number;
  write(buffer: ArrayBufferView, options: { readonly at: number }): number;
  truncate(sizeBytes: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

export type HandleMode = "read-only" | "readwrite" | "readwrite-unsafe";

export interface StoredFileHandle extends FileSystemFileHandle {
  createSyncAccessHandle(options?: { readonly mode?: HandleMode }): Promise<SyncHandle>;
  /** Renames within its folder. */
  move?(name: string): Promise<void>;
}
