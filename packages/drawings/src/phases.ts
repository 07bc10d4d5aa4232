/** Phases of a token in their order; colours that the colour-blind tell apart (Okabe and Ito). */
export const PHASES = [
  { key: "predict", name: "predict", colour: "#f0e442" },
  { key: "cache", name: "cache", colour: "#cc79a7" },
  { key: "readWait", name: "wait for reads", colour: "#d55e00" },
  { key: "check", name: "checksums", colour: "#bbbbbb" },
  { key: "attention", name: "attention", colour: "#0072b2" },
  { key: "ffn", name: "FFN", colour: "#009e73" },
  { key: "head", name: "head", colour: "#56b4e9" },
  { key: "other", name: "other: the event loop", colour: "#707070" },
] as const;
