export {
  CAPABILITIES,
  type Capability,
  type CapabilityName,
  capability,
  neededCapabilities,
  requiredCapabilities,
} from "./capability.js";
