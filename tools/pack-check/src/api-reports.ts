/** API Extractor over the built declarations of every package, in one compilation. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CompilerState, Extractor, ExtractorConfig, ExtractorLogLevel } from "@microsoft/api-extractor";
import { entryPoints, publicPackages, root } from "./public-packages.js";

export interface ApiReport {
  /** `@flashwick/kernels/reference`. */
  readonly entry: string;
  /** Where the reviewed report lies, relative to the root. */
  readonly path: string;
  readonly text: string;
}

/** Entries of which nothing is promised. */
const UNPROMISED = new Set(["@flashwick/runtime/engine"]);

/**
 * The reports of all entries that promise something.
 *
 * Cost: some ten seconds.
 * @throws {Error} where a declaration cannot be read.
 */
export function apiReports(): ApiReport[] {
  const folder = mkdtempSync(join(tmpdir(), "api-report-"));
  try {
    const wanted = publicPackages.flatMap(({ folder: of, manifest }) =>
      entryPoints(manifest)
        .filter(({ path }) => !UNPROMISED.has(path))
        .map(({ path, types }) => ({
          entry: path,
          path: reportPath(of, manifest.name, path),
          config: configOf(folder, of, path, types),
        })),
    );
    const [first, ...others] = wanted.map(({ config }) => config);
    const compilerState = CompilerState.create(first!, {
      additionalEntryPoints: others.map(({ mainEntryPointFilePath }) => mainEntryPointFilePath),
    });
    return wanted.map(({ entry, path, config }) => ({ entry, path, text: reportOf(config, compilerState) }));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** `packages/runtime/api/node-estimate.api.md` of `@flashwick/runtime/node/estimate`. */
export function reportPath(folder: string, name: string, entry: string): string {
  const subpath = entry.slice(name.length + 1).replaceAll("/", "-");
  return `${folder}/api/${subpath || "index"}.api.md`;
}

function configOf(out: string, of: string, entry: string, types: string): ExtractorConfig {
  const projectFolder = join(root, of);
  const report = `${entry.replaceAll(/[@/]/g, "-")}.api.md`;
  const quiet = { logLevel: ExtractorLogLevel.None, addToApiReportFile: false };
  return ExtractorConfig.prepare({
    packageJsonFullPath: join(projectFolder, "package.json"),
    configObjectFullPath: join(projectFolder, "api-extractor.json"),
    configObject: {
      projectFolder,
      mainEntryPointFilePath: join(projectFolder, types),
      compiler: { overrideTsconfig: COMPILER },
      apiReport: { enabled: true, reportFileName: report, reportFolder: out, reportTempFolder: join(out, "temp") },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      newlineKind: "lf",
      messages: {
        compilerMessageReporting: { default: { logLevel: ExtractorLogLevel.Error } },
        extractorMessageReporting: { default: quiet },
        tsdocMessageReporting: { default: quiet },
      },
    },
  });
}

/** As a consumer has it; declarations only. */
const COMPILER = {
  compilerOptions: {
    target: "ES2022",
    module: "ESNext",
    moduleResolution: "bundler",
    lib: ["ES2023", "ESNext.Disposable", "DOM", "DOM.Iterable"],
    strict: true,
    skipLibCheck: true,
    types: ["node"],
  },
  include: ["dist"],
};

function reportOf(config: ExtractorConfig, compilerState: CompilerState): string {
  const errors: string[] = [];
  Extractor.invoke(config, {
    compilerState,
    localBuild: true,
    messageCallback: (message) => {
      message.handled = true;
      if (message.logLevel === ExtractorLogLevel.Error) errors.push(message.formatMessageWithLocation(root));
    },
  });
  if (errors.length > 0) throw new Error(errors.join("\n"));
  return readFileSync(config.reportFilePath, "utf8");
}
