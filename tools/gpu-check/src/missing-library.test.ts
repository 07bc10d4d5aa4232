import { describe, expect, it } from "vitest";
import { explainNoAdapter, type SystemView } from "./missing-library.js";

const LOADER = "/usr/lib/x86_64-linux-gnu/libvulkan.so.1";
const MANIFEST = "/usr/share/vulkan/icd.d/nvidia_icd.json";
const manifestOf = (library: string) => JSON.stringify({ ICD: { library_path: library } });

function systemOf(files: Readonly<Record<string, string>>, env: SystemView["env"] = {}): SystemView {
  return {
    env,
    exists: (path) => path in files,
    read: (path) => files[path]!,
    list: (folder) =>
      Object.keys(files)
        .filter((path) => path.startsWith(`${folder}/`))
        .map((path) => path.slice(folder.length + 1)),
  };
}

describe("a machine on which no adapter comes up", () => {
  it("lacks the loader and a driver if it is bare", () => {
    const [loader, driver] = explainNoAdapter(systemOf({}));
    expect(loader).toMatch(/libvulkan\.so\.1.*apt-get install libvulkan1/);
    expect(driver).toMatch(/no manifest of a Vulkan driver.*mesa-vulkan-drivers/);
  });

  it("is told of NVIDIA's package where the kernel has NVIDIA's driver", () => {
    const found = explainNoAdapter(systemOf({ [LOADER]: "", "/proc/driver/nvidia/version": "" }));
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/libnvidia-gl-<version>.*NVIDIA_DRIVER_CAPABILITIES=all/);
  });

  it.each([
    ["a bare name", "libGLX_nvidia.so.0", "/usr/lib64/libGLX_nvidia.so.0"],
    ["a path beside the manifest", "./libdriver.so", "/usr/share/vulkan/icd.d/./libdriver.so"],
    ["an absolute path", "/opt/libdriver.so", "/opt/libdriver.so"],
  ])("looks for the driver's library by %s", (_, library, path) => {
    const files = { [LOADER]: "", [MANIFEST]: manifestOf(library) };
    expect(explainNoAdapter(systemOf(files))[0]).toContain(`names ${library}, which is not there`);
    expect(explainNoAdapter(systemOf({ ...files, [path]: "" }))[0]).toMatch(/no device answers/);
  });

  it("follows what the environment names", () => {
    const env = { VK_ICD_FILENAMES: "/nowhere/icd.json", LD_LIBRARY_PATH: "/mine" };
    const [found, ...others] = explainNoAdapter(systemOf({ "/mine/libvulkan.so.1": "" }, env));
    expect(found).toContain("/nowhere/icd.json, which VK_ICD_FILENAMES names, is not there");
    expect(others).toEqual([]);
  });

  it.each(["not JSON", "{}", '{"ICD":{"library_path":3}}'])("says that a manifest of %s names no library", (text) => {
    expect(explainNoAdapter(systemOf({ [LOADER]: "", [MANIFEST]: text }))[0]).toContain("names no library");
  });
});
