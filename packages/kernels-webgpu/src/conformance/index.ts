export { type CaseResult, type HostLink, type HostRequest, isDeviceCase, runDeviceTable } from "./device-driver.js";
export { type DeviceTable, hostDevice } from "./device-host.js";
