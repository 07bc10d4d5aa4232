/** Whether a reader has changed what all objects share. */

const WATCHED: readonly (readonly [string, object])[] = [
  ...(
    ["Object", "Array", "Function", "String", "Number", "Boolean", "RegExp", "Map", "Set", "Promise", "Error"] as const
  ).map((name) => [`${name}.prototype`, globalThis[name].prototype] as const),
  ...[["Uint8Array.prototype", Uint8Array.prototype] as const, ["Object", Object] as const, ["Array", Array] as const],
];

/** What the shared objects were when the watch began. */
export class PrototypeWatch {
  readonly #before = WATCHED.map(([name, object]) => ({
    name,
    object,
    facts: Object.getOwnPropertyDescriptors(object),
  }));
  readonly #keys = Reflect.ownKeys(Object.prototype).length + Reflect.ownKeys(Array.prototype).length;

  /** Whether any object has got a property from nowhere. Cost: under a microsecond. */
  get hasNewKeys(): boolean {
    return Reflect.ownKeys(Object.prototype).length + Reflect.ownKeys(Array.prototype).length !== this.#keys;
  }

  /** The first thing that is not as it was; null: nothing. Cost: some tens of microseconds. */
  findChange(): string | null {
    for (const { name, object, facts } of this.#before) {
      const now = Object.getOwnPropertyDescriptors(object);
      const keys = Reflect.ownKeys(now);
      if (keys.length !== Reflect.ownKeys(facts).length) return `${name} has other properties`;
      for (const key of keys) if (!isSame(now[key as string], facts[key as string])) return `${name}.${String(key)}`;
    }
    return null;
  }

  /** Puts everything back. */
  restore(): void {
    for (const { object, facts } of this.#before) {
      for (const key of Reflect.ownKeys(object)) if (!Object.hasOwn(facts, key)) Reflect.deleteProperty(object, key);
      for (const key of Reflect.ownKeys(facts)) {
        const fact = facts[key as string]!;
        if (fact.configurable || fact.writable) Object.defineProperty(object, key, fact);
      }
    }
  }
}

function isSame(a: PropertyDescriptor | undefined, b: PropertyDescriptor | undefined): boolean {
  return a?.value === b?.value && a?.get === b?.get && a?.set === b?.set;
}
