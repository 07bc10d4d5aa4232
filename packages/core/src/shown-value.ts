/** Values of a stranger's document in messages. */

/** Characters of a value, elements of a list, fields of an object, and levels of them within each other. */
const MOST_CHARACTERS = 160;
const MOST_ELEMENTS = 16;
const MOST_LEVELS = 3;

/**
 * A value of a document for a message: as JSON where it is small; otherwise its beginning. However long or deep the value is, this ends at once, where
 * `JSON.stringify` runs out of stack.
 *
 * @param value Anything that `JSON.parse` gives; `undefined` for a field that is not there.
 */
export function showValue(value: unknown): string {
  const text = JSON.stringify(beginningOf(value, MOST_LEVELS)) ?? "nothing";
  return text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text;
}

function beginningOf(value: unknown, levels: number): unknown {
  if (typeof value === "string") return value.slice(0, MOST_CHARACTERS);
  if (typeof value !== "object" || value === null) return value;
  if (levels === 0) return "…";
  if (!Array.isArray(value)) {
    const fields = Object.entries(value).slice(0, MOST_ELEMENTS);
    return Object.fromEntries(
      fields.map(([key, inner]) => [key.slice(0, MOST_CHARACTERS), beginningOf(inner, levels - 1)]),
    );
  }
  const elements: unknown[] = value.slice(0, MOST_ELEMENTS).map((inner) => beginningOf(inner, levels - 1));
  return value.length > MOST_ELEMENTS ? [...elements, "…"] : elements;
}
