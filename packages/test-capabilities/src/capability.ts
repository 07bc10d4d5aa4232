/**
 * What tests need of the machine that runs them. Where it is absent they are skipped, and their titles say why; where
 * `FLASHWICK_REQUIRE` names it they fail instead, so that continuous integration cannot pass by testing less.
 *
 * Invariant: every test that a machine may skip has `[needs <name>]` in its full title, or `[needs <name>: <why it is skipped>]`.
 * The reporter of test runs (tools/test-report) reads nothing else.
 */

/** All there are; a test that depends on something else adds it here. */
export const CAPABILITIES = [
  /** `build` has run: the command line and the lab are tested as they are shipped. */
  "build",
  /** A Linux memory control group can be made. */
  "memory-group",
  /** Reads past the page cache work beside the sources. */
  "direct-io",
  /** Chromium from npm can run here. */
  "chromium",
  /** WebGPU on SwiftShader, in Node and in Chromium. */
  "webgpu",
  /** /proc, /dev/full and threads that the system numbers. */
  "linux",
  /** Published models, too large for this repository, lie in the folder that `FLASHWICK_MODELS_DIR` names. */
  "models",
  /** nginx is installed: replicas are tested behind it. */
  "nginx",
  /** Packages of others can be installed: npm has them in its cache, or reaches a registry. */
  "registry",
  /** Node 24 beside the Node that runs the tests: `FLASHWICK_NODE_24` names its executable. */
  "node-24",
  /** The runtime compiles WebAssembly's relaxed SIMD, and its results are right. Node 20 does not; pages in Chromium do. */
  "relaxed-simd",
] as const;

export type CapabilityName = (typeof CAPABILITIES)[number];

/** The environment variable that names what must not be absent: names with commas between. */
const REQUIRE = "FLASHWICK_REQUIRE";

/** One capability, as this machine has it. */
export interface Capability {
  readonly name: CapabilityName;
  readonly isMissing: boolean;
  /** Adds the need, and why it is not met, to the title of a test or of a group of tests. */
  title(text: string): string;
}

/**
 * ```ts
 * const group = capability("memory-group", memoryGroupsMissing());
 * describe.skipIf(group.isMissing)(group.title("the budget"), () => { … });
 * ```
 *
 * @param missing Why it is absent; null where it is there.
 * @param env     Where `FLASHWICK_REQUIRE` is looked up.
 * @throws {Error} if it is absent and required, or if the requirement names what does not exist.
 */
export function capability(
  name: CapabilityName,
  missing: string | null,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Capability {
  if (missing !== null && requiredCapabilities(env).includes(name)) {
    throw new Error(
      `${REQUIRE}=${env[REQUIRE]}: ${name} is required, but ${missing}. Run the tests where it is there, or require less`,
    );
  }
  const need = missing === null ? `[needs ${name}]` : `[needs ${name}: ${missing}]`;
  return { name, isMissing: missing !== null, title: (text) => `${text} ${need}` };
}

/**
 * What the environment requires, in its order; nothing where it says nothing.
 *
 * @throws {Error} for a name that is not among `CAPABILITIES`.
 */
export function requiredCapabilities(
  env: Readonly<Record<string, string | undefined>> = process.env,
): readonly CapabilityName[] {
  const names = (env[REQUIRE] ?? "").split(",").map((name) => name.trim());
  return names.filter((name) => name !== "").map(checkName);
}

/** The capabilities that a test's full title names; none for a test that every machine can run. */
export function neededCapabilities(fullTitle: string): readonly CapabilityName[] {
  return [...fullTitle.matchAll(/\[needs ([\w-]+)[\]:]/g)].map(([, name]) => checkName(name!));
}

function checkName(name: string): CapabilityName {
  const known = CAPABILITIES.find((one) => one === name);
  if (known) return known;
  throw new Error(`${name} is no capability of a machine, expected one of ${CAPABILITIES.join(", ")}`);
}
