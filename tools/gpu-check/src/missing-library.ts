/**
 * Why a Linux machine shows no graphics processor to Vulkan, and what to install. Dawn says only that there is no adapter; what is missing is one of
 * three: the loader, a manifest that names a driver, or the library that the manifest names.
 */

/** What of a system is looked at. */
export interface SystemView {
  exists(path: string): boolean;
  /** Names in a folder; nothing if it is not there. */
  list(folder: string): readonly string[];
  read(path: string): string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Folders of libraries on Debian, Fedora and what descends from them. */
export const LIBRARY_FOLDERS = [
  "/usr/lib/x86_64-linux-gnu",
  "/lib/x86_64-linux-gnu",
  "/usr/lib64",
  "/lib64",
  "/usr/lib",
  "/usr/local/lib",
  "/usr/local/nvidia/lib64",
];
const MANIFEST_FOLDERS = ["/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/usr/share/vulkan/icd.d"];
const LOADER = "libvulkan.so.1";
const NVIDIA_VERSION = "/proc/driver/nvidia/version";

const GET_LOADER = `install it (Debian, Ubuntu: apt-get install libvulkan1; Fedora: dnf install vulkan-loader)`;
const GET_NVIDIA =
  "install the graphics part of NVIDIA's driver, in the version of the kernel's (Debian, Ubuntu: libnvidia-gl-<version>); " +
  "in a container, start it with NVIDIA_DRIVER_CAPABILITIES=all";
const GET_OTHER = "install the Vulkan driver (Debian, Ubuntu: apt-get install mesa-vulkan-drivers, for AMD and Intel)";

/** What is missing, in sentences for a person, most likely first. */
export function explainNoAdapter(system: SystemView): string[] {
  const folders = libraryFolders(system);
  const found = [];
  if (!hasLibrary(system, folders, LOADER))
    found.push(`the Vulkan loader, ${LOADER}, is in none of ${folders.join(", ")}; ${GET_LOADER}`);
  const manifests = manifestPaths(system);
  if (manifests.length === 0) {
    found.push(`no manifest of a Vulkan driver is in ${MANIFEST_FOLDERS.join(", ")}; ${driverAdvice(system)}`);
  }
  for (const path of manifests) {
    const problem = manifestProblem(system, folders, path);
    if (problem) found.push(problem);
  }
  if (found.length > 0) return found;
  return [
    `loader and driver are there (${manifests.join(", ")}), but no device answers: are /dev/dri or /dev/nvidia* there, and may this user open ` +
      "them? NVIDIA's library also needs libX11.so.6 and libXext.so.6 (apt-get install libx11-6 libxext6). VK_LOADER_DEBUG=all says more",
  ];
}

function libraryFolders({ env }: SystemView): readonly string[] {
  return [...(env.LD_LIBRARY_PATH ?? "").split(":").filter(Boolean), ...LIBRARY_FOLDERS];
}

function hasLibrary(system: SystemView, folders: readonly string[], name: string): boolean {
  return folders.some((folder) => system.exists(`${folder}/${name}`));
}

function manifestPaths(system: SystemView): readonly string[] {
  const named = system.env.VK_DRIVER_FILES ?? system.env.VK_ICD_FILENAMES;
  if (named) return named.split(":").filter(Boolean);
  return MANIFEST_FOLDERS.flatMap((folder) =>
    system
      .list(folder)
      .filter((name) => name.endsWith(".json"))
      .map((name) => `${folder}/${name}`),
  );
}

/** Null: its library is there. */
function manifestProblem(system: SystemView, folders: readonly string[], path: string): string | null {
  const advice = driverAdvice(system);
  if (!system.exists(path)) return `the manifest ${path}, which VK_ICD_FILENAMES names, is not there; ${advice}`;
  const library = libraryOf(system.read(path));
  if (library === null) return `the manifest ${path} names no library; ${advice}`;
  const folder = path.slice(0, path.lastIndexOf("/"));
  const isThere = library.startsWith("/")
    ? system.exists(library)
    : library.includes("/")
      ? system.exists(`${folder}/${library}`)
      : hasLibrary(system, folders, library);
  return isThere ? null : `the manifest ${path} names ${library}, which is not there; ${advice}`;
}

function libraryOf(manifest: string): string | null {
  try {
    const { ICD } = JSON.parse(manifest) as { readonly ICD?: { readonly library_path?: unknown } };
    return typeof ICD?.library_path === "string" ? ICD.library_path : null;
  } catch {
    return null;
  }
}

function driverAdvice(system: SystemView): string {
  return system.exists(NVIDIA_VERSION) ? GET_NVIDIA : GET_OTHER;
}
