/** An FFN's activation in config.json, by the names that transformers gives them (activations.py, ACT2FN). */
import { type Activation, FormatError, showValue, UnsupportedError } from "@flashwick/core";

const ACTIVATION_OF_NAME: Readonly<Record<string, Activation>> = {
  relu: "relu",
  relu2: "relu2",
  fatrelu: "fatrelu",
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
};

/**
 * @param threshold Of FATReLU: `hidden_act_param` in ProSparse's checkpoints.
 * @throws {UnsupportedError} `UNSUPPORTED_ACTIVATION` naming the field. {FormatError} `CHECKPOINT_CONFIG` for FATReLU without a threshold.
 */
export function readActivation(
  name: string,
  field: string,
  threshold: number | null | undefined,
  where: string,
): { readonly activation: Activation; readonly threshold: number } {
  const activation = Object.hasOwn(ACTIVATION_OF_NAME, name) ? ACTIVATION_OF_NAME[name]! : null;
  if (activation === null) {
    const known = Object.keys(ACTIVATION_OF_NAME).join(", ");
    throw new UnsupportedError(
      "UNSUPPORTED_ACTIVATION",
      `${where}: field ${field}: expected one of ${known}, found ${showValue(name)}; convert another checkpoint`,
      { details: { file: where, field, activation: name } },
    );
  }
  if (activation !== "fatrelu") return { activation, threshold: 0 };
  if (typeof threshold === "number" && Number.isFinite(threshold)) return { activation, threshold };
  throw new FormatError(
    "CHECKPOINT_CONFIG",
    `${where}: field hidden_act_param: expected the threshold of FATReLU, found ${String(threshold)}`,
    { details: { file: where, field: "hidden_act_param" } },
  );
}
