/** A command that writes, and what must hold of what it writes. */
import type { CrashInputs } from "./crash-inputs.js";

export interface Scenario {
  readonly name: string;
  /** The words behind `node`. @param work The folder that it writes into, and nothing else does. */
  command(work: string, inputs: CrashInputs): readonly string[];
  /** Files that it makes, below the folder. */
  readonly outputs: readonly string[];
  /** Words added where an older file is to be replaced; null: it replaces without being told, or never. */
  readonly force: readonly string[] | null;
  /** Words of the second call that the first one lacks. */
  readonly resume?: readonly string[];
  /** Variables of its environment, beside those of all. */
  env?(work: string): Readonly<Record<string, string>>;
  /** Words that make another content of the same size or a different one, for a second writer; none: it writes the same. */
  readonly rival?: readonly string[];
  /** Makes the folder what it is before the first call. */
  prepare?(work: string, inputs: CrashInputs): void;
  /** What time would do between a crash and the next call. */
  settle?(work: string): void;
  /** What a failed call may leave, for the next one to go on from. */
  readonly keeps?: RegExp;
  /** A failure of the disk is no failure of this one: then it may end well with nothing kept. */
  readonly isOptional?: boolean;
  /** Its files carry checksums, and what does not match is made again: after a loss of power they may be anything. */
  readonly isChecked?: boolean;
  /** Whether it takes so long that only every so many operations are tried. */
  readonly stride?: number;
}
