export { checkedKernels } from "./checked-kernels.js";
