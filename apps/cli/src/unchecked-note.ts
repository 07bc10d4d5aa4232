/** What a file cannot promise that has no checksums. */
import { carriesChecksums } from "@flashwick/flash-format";
import type { Model } from "@flashwick/runtime";
import type { Report } from "./report.js";

const NOT_CHECKED = "no checksums: the weights are not checked; flashwick verify <file> --write makes checksums";

/** Says of a file of llama.cpp's without checksums beside it that a weight that has changed goes unnoticed; nothing of any other. */
export function noteUnchecked({ header }: Model, report: Report): void {
  if (!carriesChecksums(header) && header.checksums === undefined) report.note(NOT_CHECKED);
}
