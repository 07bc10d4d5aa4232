/** What a user gets who installs every package: a bill of materials in the form of CycloneDX, by npm itself. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { npm } from "./command.js";
import { publicPackages, root } from "./public-packages.js";

/** Where a dry run of a release leaves it; git ignores the folder. */
export const BILL_PATH = join(root, "dist/flashwick.cdx.json");

/** One package of the bill. */
export interface BillComponent {
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
  readonly licenses?: readonly object[];
  readonly externalReferences?: readonly { readonly type: string; readonly url: string }[];
}

/** What of CycloneDX 1.5 is looked at here. */
export interface BillOfMaterials {
  readonly bomFormat: string;
  readonly specVersion: string;
  readonly metadata: { readonly component: { readonly name: string; readonly version: string } };
  readonly components: readonly BillComponent[];
}

/**
 * Writes the bill of what is installed.
 *
 * @param folder A project into which npm has installed every package.
 */
export async function writeBill(folder: string): Promise<BillOfMaterials> {
  nameProject(join(folder, "package.json"));
  const { stdout } = await npm(["sbom", "--sbom-format=cyclonedx", "--omit=dev"], folder);
  const found = JSON.parse(stdout);
  const component = { ...found.metadata.component, name: "flashwick" };
  const bill: BillOfMaterials = {
    ...found,
    metadata: { ...found.metadata, component },
    components: found.components.map(withoutLocalPlaces),
  };
  mkdirSync(dirname(BILL_PATH), { recursive: true });
  writeFileSync(BILL_PATH, `${JSON.stringify(bill, null, 2)}\n`);
  return bill;
}

/** npm writes no bill for a project without a name. */
function nameProject(path: string): void {
  const { version } = publicPackages.find(({ manifest }) => manifest.name === "flashwick")!.manifest;
  writeFileSync(
    path,
    JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), name: "flashwick-release", version }),
  );
}

/** Ours come from tarballs of this machine, whose places mean nothing to others. */
function withoutLocalPlaces(component: BillComponent): BillComponent {
  const externalReferences = component.externalReferences?.filter(({ url }) => !url.startsWith("file:")) ?? [];
  return { ...component, externalReferences };
}
