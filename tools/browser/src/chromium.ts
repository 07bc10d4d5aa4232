/**
 * Headless Chromium for tests, from the npm package @sparticuz/chromium alone: it carries the browser, the libraries that a bare Linux lacks, and
 * SwiftShader's Vulkan driver. Unpacked once, with Node, into node_modules/.cache.
 */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { createBrotliDecompress } from "node:zlib";
import { type Browser, type BrowserContext, chromium } from "playwright-core";

const cache = fileURLToPath(new URL("../node_modules/.cache/", import.meta.url));

export interface UnpackedChromium {
  readonly executable: string;
  /** For LD_LIBRARY_PATH. */
  readonly libraries: readonly string[];
  /** SwiftShader's Vulkan driver, for VK_ICD_FILENAMES. */
  readonly icd: string;
}

/** Why Chromium cannot run here; null if it can. */
export function chromiumMissing(): string | null {
  const { platform, arch } = process;
  if (platform !== "linux" || arch !== "x64")
    return `Chromium from npm is Linux's on x64; this is ${platform} on ${arch}`;
  if (existsSync(fileURLToPath(new URL("../node_modules/@sparticuz/chromium/bin", import.meta.url)))) return null;
  return "the npm package @sparticuz/chromium is not installed";
}

/** Unpacks once for each version of the package; later calls look only. */
export async function unpackChromium(): Promise<UnpackedChromium> {
  // Its package.json is not among its exports: found where this package has its dependencies.
  const root = realpathSync(fileURLToPath(new URL("../node_modules/@sparticuz/chromium", import.meta.url)));
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly version: string };
  // The number counts the ways in which it has been unpacked here.
  const target = join(cache, `chromium-${version}-2`);
  if (!existsSync(target)) {
    const fresh = `${target}.${process.pid}`;
    mkdirSync(fresh, { recursive: true });
    for (const name of ["chromium.br", "al2023.tar.br", "swiftshader.tar.br"]) {
      const out = join(fresh, name.slice(0, -".br".length));
      await pipeline(createReadStream(join(root, "bin", name)), createBrotliDecompress(), createWriteStream(out));
      if (!out.endsWith(".tar")) continue;
      // Chromium looks for SwiftShader beside itself.
      const folder = name.startsWith("swiftshader") ? fresh : out.slice(0, -".tar".length);
      mkdirSync(folder, { recursive: true });
      execFileSync("tar", ["-xf", out, "-C", folder]);
      rmSync(out);
    }
    chmodSync(join(fresh, "chromium"), 0o755);
    try {
      renameSync(fresh, target);
    } catch {
      // Another process was first.
      rmSync(fresh, { recursive: true });
    }
  }
  return {
    executable: join(target, "chromium"),
    libraries: [join(target, "al2023/lib"), target],
    icd: join(target, "vk_swiftshader_icd.json"),
  };
}

/**
 * A browser whose contexts are private windows: each has a storage of its own, which the browser's process holds; a read there costs 0.2 ms.
 *
 * @param flags More switches for Chromium.
 */
export async function launchChromium(flags: readonly string[] = []): Promise<Browser> {
  return await chromium.launch(await launchOptions(flags));
}

/**
 * A browser with a profile on disk, as people have it: its private file system is files, which workers read themselves.
 *
 * @param folder  Of the profile; made if it is not there.
 * @param options Viewport, colours and the like.
 */
export async function launchProfile(
  folder: string,
  options: Parameters<(typeof chromium)["launchPersistentContext"]>[1] = {},
): Promise<BrowserContext> {
  return await chromium.launchPersistentContext(folder, { ...(await launchOptions([])), ...options });
}

async function launchOptions(flags: readonly string[]) {
  const { executable, libraries } = await unpackChromium();
  return {
    executablePath: executable,
    env: { ...process.env, LD_LIBRARY_PATH: [...libraries, process.env.LD_LIBRARY_PATH ?? ""].join(":") } as Record<
      string,
      string
    >,
    args: [
      "--headless=new",
      "--no-sandbox",
      "--enable-unsafe-webgpu",
      "--use-webgpu-adapter=swiftshader",
      "--enable-features=Vulkan",
      "--disable-dev-shm-usage",
      ...flags,
    ],
  };
}
