/**
 * Jinja within bounds. A chat template comes with a model file, and Jinja has loops, recursive macros and texts that double; the
 * library runs to the end whatever that takes. So every node that it evaluates is charged here, in units of about a nanosecond:
 * for itself, for what it goes through, and for what it makes. The bound is the same on every machine, and in a page.
 *
 * Invariants: no value is larger than `MAX_VALUE`, written out, so no single step goes through more than that, times a constant;
 * and none makes more than `MAX_PRODUCT` before what it made is refused.
 */
import { type Environment, Interpreter } from "@huggingface/jinja";

/** About a second. The templates of published models take some milliseconds. */
const MAX_WORK = 2 ** 30;
/** Nodes within nodes, calls of macros included. Within the engine's own stack, whose end the library would take for an unknown name. */
const MAX_DEPTH = 400;
/** Characters of a value, or of all that it holds, written out: a conversation of a million tokens. */
const MAX_VALUE = 4 * 1024 * 1024;
/** Characters that one step may make of an operand and an argument, each of which is within bounds. */
const MAX_PRODUCT = 64 * 1024 * 1024;
/** What an element takes beside its text. */
const ELEMENT_SIZE = 16;

/** Units of work. */
const COST = {
  node: 1000,
  /** A variable that is not there: the library throws and catches. */
  undefinedNode: 20_000,
  /** A turn of a loop: its scope and its `loop`. */
  iteration: 3000,
  element: 20,
  /** Of a text that a filter, a test or a method goes through, or gives. */
  character: 4,
  /** Of a text that is compared, put together or handed on. */
  heldCharacter: 0.25,
  /** Of a text that is taken apart into characters. */
  splitCharacter: 30,
  /** The body of a macro is searched when it is defined; a character of the template is more than a node of it. */
  searchedCharacter: 50,
  /** Sorting, per character: comparisons, each with both texts in lower case. */
  sorting: 64,
} as const;

type Node = NonNullable<Parameters<Interpreter["evaluate"]>[0]>;
type Value = ReturnType<Interpreter["evaluate"]>;

/** Parts of nodes that are looked at here (ast.d.ts of the library, which does not export them). */
interface NodeParts extends Node {
  readonly test?: unknown;
  readonly iterable?: NodeParts;
  readonly lhs?: unknown;
  readonly args?: readonly unknown[];
  readonly body?: readonly unknown[];
  readonly callee?: NodeParts;
  readonly operand?: unknown;
  readonly object?: unknown;
  readonly property?: { readonly type: string; readonly value?: unknown };
  readonly operator?: { readonly value: string };
  readonly filter?: { readonly value?: string; readonly callee?: { readonly value?: string } };
}

/** A node that is being evaluated, with what is known of its parts so far. */
interface Frame {
  readonly node: NodeParts;
  /** Size of what it works on. */
  operand: number;
  /** Of the largest argument: a size, or the number itself. */
  argument: number;
}

/** The template would do more than it may. */
export class WorkLimitError extends Error {}

export class MeteredInterpreter extends Interpreter {
  readonly #sourceLength: number;
  /** Sizes of arrays and objects, which never change; namespaces do. */
  readonly #sizes = new WeakMap<Value, number>();
  #work = 0;
  #depth = 0;
  #frame: Frame | null = null;

  /** @param sourceLength Characters of the template. */
  constructor(environment: Environment, sourceLength: number) {
    super(environment);
    this.#sourceLength = sourceLength;
  }

  override evaluate(node: Node | undefined, environment: Environment): Value {
    if (!node) return super.evaluate(node, environment);
    const outer = this.#frame;
    const frame: Frame = { node, operand: 0, argument: 0 };
    this.#spend(COST.node);
    if (node.type === "Macro" || node.type === "CallStatement")
      this.#spend(COST.searchedCharacter * this.#sourceLength);
    if (++this.#depth > MAX_DEPTH) throw new WorkLimitError(`more than ${MAX_DEPTH} nodes or calls within each other`);
    this.#frame = frame;
    let value: Value;
    try {
      value = super.evaluate(node, environment);
    } finally {
      this.#frame = outer;
      this.#depth--;
    }
    this.#charge(value, node, outer?.node ?? null);
    if (outer) checkProduct(outer, frame, value, this.#sizeOf(value));
    return value;
  }

  #charge(value: Value, node: Node, parent: NodeParts | null): void {
    const size = this.#sizeOf(value);
    if (size > MAX_VALUE) throw new WorkLimitError(`a value is larger than ${MAX_VALUE} characters`);
    if (value.type === "UndefinedValue") this.#spend(COST.undefinedNode);
    if (value.type === "StringValue") this.#spend(characterCost(node, parent) * size);
    if (!isContainer(value)) return;
    // What a call returns may have been sorted.
    if (node.type === "CallExpression") this.#spend(COST.sorting * size);
    this.#spend(useCost(node, parent, elementsOf(value), size));
  }

  #sizeOf(value: Value): number {
    if (value.type === "StringValue") return (value.value as string).length;
    if (!isContainer(value)) return ELEMENT_SIZE;
    const known = this.#sizes.get(value);
    if (known !== undefined) return known;
    this.#spend(COST.element * elementsOf(value));
    let size = ELEMENT_SIZE;
    for (const [key, inner] of entriesOf(value)) {
      // It could grow after it was measured, or hold itself.
      if (inner.type === "NamespaceValue") throw new WorkLimitError("a namespace is held by another value");
      size += key + ELEMENT_SIZE + this.#sizeOf(inner);
    }
    if (value.type !== "NamespaceValue") this.#sizes.set(value, size);
    return size;
  }

  #spend(units: number): void {
    this.#work += units;
    if (this.#work > MAX_WORK)
      throw new WorkLimitError("the work has no end, or takes longer than any conversation needs");
  }
}

function isContainer({ type }: Value): boolean {
  return ["ArrayValue", "TupleValue", "ObjectValue", "KeywordArgumentsValue", "NamespaceValue"].includes(type);
}

function elementsOf({ value }: Value): number {
  return Array.isArray(value) ? value.length : (value as ReadonlyMap<string, Value>).size;
}

/** Characters of each key, and what it leads to. */
function* entriesOf({ value }: Value): Iterable<readonly [number, Value]> {
  if (Array.isArray(value)) for (const inner of value as Value[]) yield [0, inner];
  else for (const [key, inner] of value as ReadonlyMap<string, Value>) yield [key.length, inner];
}

/** Filters and operators that take an array or an object as it is, or go through its elements but not through theirs. */
const SHALLOW_FILTERS = [
  "length",
  "first",
  "last",
  "list",
  "default",
  "reverse",
  "items",
  "map",
  "selectattr",
  "rejectattr",
  "safe",
];
const SHALLOW_OPERATORS = ["and", "or", "in", "not in"];
/** Nodes that hand on what they are given. */
const REFERRING = [
  ...["MemberExpression", "Ternary", "SelectExpression", "TestExpression", "UnaryExpression"],
  ...["ArrayLiteral", "TupleLiteral", "ObjectLiteral", "SliceExpression"],
];

const WORKING = ["FilterExpression", "FilterStatement", "CallExpression", "TestExpression"];

/** Work that a character of a text causes where the text is made and used. */
function characterCost(node: Node, parent: NodeParts | null): number {
  if (parent?.type === "MemberExpression" && parent.property?.type === "SliceExpression") return COST.splitCharacter;
  if (parent?.type === "FilterExpression" && filterName(parent) === "join") return COST.splitCharacter;
  const isWorkedOn = parent !== null && (WORKING.includes(parent.type) || parent.type === "MemberExpression");
  return isWorkedOn || WORKING.includes(node.type) ? COST.character : COST.heldCharacter;
}

/** Work that an array or an object causes where it is used. */
function useCost(node: Node, parent: NodeParts | null, elements: number, size: number): number {
  const whole = COST.character * size;
  switch (parent?.type) {
    case "For":
      if (node === parent.test) return 0;
      return node === parent.iterable || node === parent.iterable?.lhs ? COST.iteration * elements : whole;
    case "If":
      return node === parent.test ? 0 : whole;
    case "Set":
      return parent.body?.includes(node) ? whole : 0;
    case "BinaryExpression":
      return SHALLOW_OPERATORS.includes(parent.operator?.value ?? "") ? COST.element * elements : whole;
    case "FilterExpression": {
      const name = filterName(parent);
      if (name === "sort" || name === "dictsort") return COST.sorting * size;
      return SHALLOW_FILTERS.includes(name) ? COST.element * elements : whole;
    }
    case "CallExpression":
      return parent.args?.includes(node) || node === parent.callee ? COST.element * elements : whole;
    default:
      return parent && REFERRING.includes(parent.type) ? COST.element : whole;
  }
}

/** Filters and methods whose result may be as large as the product of what they are given. */
const MULTIPLYING = ["replace", "join", "indent", "tojson"];

/** Notes what a part of `outer` has come to, and holds what `outer` may make of its parts against `MAX_PRODUCT`. */
function checkProduct(outer: Frame, { node, operand }: Frame, { value }: Value, size: number): void {
  const whole = outer.node;
  const extent = typeof value === "number" ? Math.abs(value) : size;
  let name: unknown;
  switch (whole.type) {
    case "MemberExpression":
      if (node === whole.object) outer.operand = size;
      return;
    case "FilterStatement":
      if (whole.body?.includes(node)) return;
      outer.operand = MAX_VALUE;
      outer.argument = Math.max(outer.argument, extent);
      name = filterName(whole);
      break;
    case "FilterExpression":
      if (node === whole.operand) outer.operand = size;
      else outer.argument = Math.max(outer.argument, extent);
      name = filterName(whole);
      break;
    case "CallExpression":
      if (node === whole.callee) outer.operand = operand;
      else outer.argument = Math.max(outer.argument, extent);
      name = whole.callee?.property?.value;
      break;
    default:
      return;
  }
  if (MULTIPLYING.includes(name as string) && outer.operand * outer.argument > MAX_PRODUCT) {
    throw new WorkLimitError(`${name} may make more than ${MAX_PRODUCT} characters`);
  }
}

function filterName({ filter }: NodeParts): string {
  return filter?.value ?? filter?.callee?.value ?? "";
}
