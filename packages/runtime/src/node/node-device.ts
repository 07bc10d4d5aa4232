/** The graphics processor in Node: Dawn, of the optional package `webgpu`. */
/// <reference types="@webgpu/types" />
import { UnsupportedError } from "@flashwick/core";
import { openWebGpu, type WebGpu } from "@flashwick/kernels-webgpu";

/**
 * Opens the machine's graphics processor.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` where the package is not installed, or finds no adapter.
 */
export async function openNodeDevice(): Promise<WebGpu> {
  const { create } = await loadPackage();
  return await openWebGpu({ gpu: create([]) });
}

async function loadPackage(): Promise<{ readonly create: (flags: string[]) => GPU }> {
  try {
    return await import("webgpu");
  } catch (cause) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      "WebGPU in Node needs the package webgpu, which is not installed or does not run on this system; run `npm install webgpu`, or compute on WebAssembly",
      { cause },
    );
  }
}

/**
 * What the graphics processor calls itself.
 *
 * @throws As `openNodeDevice`.
 */
export async function nodeGpuName(): Promise<string> {
  const device = await openNodeDevice();
  device.close();
  return device.adapter;
}
