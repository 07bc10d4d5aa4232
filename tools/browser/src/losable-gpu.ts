/** A graphics processor whose devices can be taken away, as a driver's reset does. */

export function losable(gpu: GPU): { readonly gpu: GPU; lose(): void } {
  const devices: GPUDevice[] = [];
  const requestAdapter = async (options?: GPURequestAdapterOptions) => {
    const adapter = await gpu.requestAdapter(options);
    if (!adapter) return null;
    const { features, limits, info } = adapter;
    const requestDevice = async (descriptor?: GPUDeviceDescriptor) => {
      const device = await adapter.requestDevice(descriptor);
      devices.push(device);
      return device;
    };
    return { features, limits, info, requestDevice } as unknown as GPUAdapter;
  };
  return {
    // The real one is held with it: see OpenDevice.
    gpu: { requestAdapter, wgslLanguageFeatures: gpu.wgslLanguageFeatures, real: gpu } as unknown as GPU,
    lose: () => {
      for (const device of devices) device.destroy();
    },
  };
}
