/** Grammars that answers must follow, whoever works them out. */
import type { TokenConstraint } from "@flashwick/runtime";

/** The grammar of one text. */
export interface TextGrammar extends TokenConstraint {
  /** Aborts with an `ApiError` when the grammar can no longer be worked out; the text is to end then. */
  readonly failed: AbortSignal;
  /** Gives back what works the grammar out. Safe to call twice. */
  release(): void;
}

/** What a grammar is made from. */
export interface GrammarSource {
  /**
   * Grammars for `count` texts that are each to be a JSON document of the schema.
   *
   * @param schema A JSON schema, written out.
   * @throws {ApiError} 400 for a schema that cannot be met, is not supported, or takes too long; 429 where too many wait. The signal's own reason.
   */
  open(schema: string, count: number, signal: AbortSignal): Promise<readonly TextGrammar[]>;
  /** Ends the threads. */
  close(): Promise<void>;
}
