/** What the renderer processes of a browser take, and what they have read. Linux. */
import { readdirSync, readFileSync } from "node:fs";

export interface RendererMemory {
  /** Anonymous and shared. */
  readonly ownBytes: number;
  /** Mapped files: the browser's own code. */
  readonly fileBytes: number;
  /** Read since it began, from devices, not from the page cache. */
  readonly deviceBytes: number;
}

/** The largest renderer process of a profile. */
export function largestRenderer(profile: string): RendererMemory {
  return rendererMemory(profile).reduce((a, b) => (b.ownBytes > a.ownBytes ? b : a));
}

function rendererMemory(profile: string): RendererMemory[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
        if (!command.includes("--type=renderer") || !isOf(profile, pid)) return [];
        const status = readFileSync(`/proc/${pid}/status`, "utf8");
        const kib = (field: string) =>
          1024 * Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? 0);
        const io = readFileSync(`/proc/${pid}/io`, "utf8");
        const deviceBytes = Number(/^read_bytes: (\d+)$/m.exec(io)![1]);
        return [{ deviceBytes, ownBytes: kib("RssAnon") + kib("RssShmem"), fileBytes: kib("RssFile") }];
      } catch {
        // It has ended meanwhile.
        return [];
      }
    });
}

/** Whether a process descends from the browser of this profile. */
function isOf(profile: string, pid: string): boolean {
  for (let at = pid; at !== "0" && at !== "1"; ) {
    if (readFileSync(`/proc/${at}/cmdline`, "utf8").includes(profile)) return true;
    at = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${at}/status`, "utf8"))?.[1] ?? "0";
  }
  return false;
}
