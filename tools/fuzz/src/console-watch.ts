/** Whether a reader prints: what a stranger's file says would reach the terminal, escape sequences and all. */

const METHODS = ["log", "info", "warn", "error", "debug", "trace"] as const;

/** Takes the place of the console until it ends. */
export class ConsoleWatch {
  readonly #before = METHODS.map((name) => [name, console[name]] as const);

  /** @param tell Called with what would have been printed. */
  constructor(tell: (text: string) => void) {
    for (const name of METHODS)
      console[name] = (...parts: unknown[]) => tell(parts.map(String).join(" ").slice(0, 200));
  }

  end(): void {
    for (const [name, method] of this.#before) console[name] = method;
  }
}
