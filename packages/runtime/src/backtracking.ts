/**
 * How far a regular expression can backtrack, judged from its text alone: the patterns of a tokenizer come with a model
 * file, and the engines of JavaScript try every way in which a pattern may match before they give up.
 *
 * For each part we bound the ways in which it matches from one position, as `ways · n^loops` in the length n of the text,
 * if what follows may fail and so send the engine back into it. A part that is followed by nothing that can fail is never
 * gone back to. Every bound errs upwards: a pattern that is accepted is safe, one that is refused may be, too.
 *
 * Rejected libraries and their figures: docs/decisions/0014-patterns-are-judged.md.
 */
import { type AST, RegExpParser } from "@eslint-community/regexpp";

/** Ways that a pattern may match from one position, apart from its loops; those of the tokenizers that we know stay under 50. */
const MAX_WAYS = 1000;
/** `{n,m}` beyond this counts as a loop without end. */
const MAX_REPEATS = 100;

/** What a part of a pattern can cost. */
interface Bound {
  readonly ways: number;
  /** How many of its loops multiply. */
  readonly loops: number;
  /** What is looped over, one character or class each: in all alternatives. */
  readonly loopsOver: readonly AST.Element[];
  /** Whether it can fail to match; if not, what stands before it is not gone back to because of it. */
  readonly canFail: boolean;
}

/** Of what matches one character, or none, in one way. */
const ONE_WAY: Bound = { ways: 1, loops: 0, loopsOver: [], canFail: true };
const UNBOUNDED: Bound = { ...ONE_WAY, ways: Number.POSITIVE_INFINITY };

/**
 * Whether `pattern` surely matches a text in a time that hardly grows faster than the text: there is no loop that the engine
 * goes back into a second time, and at most one that it goes back into at all, over characters of words or over space, but not
 * both. The time is then linear in the text, times the length of its longest word (or gap) at worst.
 *
 * @throws {SyntaxError} if the pattern is of a syntax that is newer than the parser.
 * Cost: microseconds.
 */
export function hasBoundedBacktracking(pattern: RegExp): boolean {
  const flags = { unicode: pattern.unicode, unicodeSets: pattern.flags.includes("v") };
  const { alternatives } = new RegExpParser().parsePattern(pattern.source, 0, pattern.source.length, flags);
  const { ways, loops, loopsOver } = boundAlternatives(alternatives, false);
  return ways <= MAX_WAYS && loops <= 1 && loopsOver.every((element) => !crossesWords(element, pattern));
}

/** Whether a run of this class goes on through ordinary text: its length is then that of the text. */
function crossesWords({ raw }: AST.Element, { flags }: RegExp): boolean {
  const one = new RegExp(`^(?:${raw})$`, flags.replace(/[gy]/g, ""));
  return one.test("e") && one.test(" ");
}

/** @param tailFails Whether what follows can fail. */
function boundAlternatives(alternatives: readonly AST.Alternative[], tailFails: boolean): Bound {
  const bounds = alternatives.map(({ elements }) => boundSequence(elements, tailFails));
  return {
    ways: bounds.reduce((sum, { ways }) => sum + ways, 0),
    loops: Math.max(...bounds.map(({ loops }) => loops)),
    loopsOver: bounds.flatMap(({ loopsOver }) => loopsOver),
    canFail: bounds.every(({ canFail }) => canFail),
  };
}

function boundSequence(elements: readonly AST.Element[], tailFails: boolean): Bound {
  let whole: Bound = { ...ONE_WAY, canFail: false };
  // From the end, since it is what follows that sends the engine back.
  for (const element of [...elements].reverse()) {
    const { ways, loops, loopsOver, canFail } = boundElement(element, tailFails || whole.canFail);
    whole = {
      ways: whole.ways * ways,
      loops: whole.loops + loops,
      loopsOver: [...whole.loopsOver, ...loopsOver],
      canFail: whole.canFail || canFail,
    };
  }
  return whole;
}

function boundElement(element: AST.Element, tailFails: boolean): Bound {
  switch (element.type) {
    case "Group":
    case "CapturingGroup":
      return boundAlternatives(element.alternatives, tailFails);
    case "Quantifier":
      return boundQuantifier(element, tailFails);
    case "Assertion":
      // What looks around takes nothing from the text, so that what it went through is gone through again.
      return "alternatives" in element ? { ...boundAlternatives(element.alternatives, true), canFail: true } : ONE_WAY;
    case "Backreference":
      return UNBOUNDED;
    default:
      return ONE_WAY;
  }
}

function boundQuantifier({ min, max, element }: AST.Quantifier, tailFails: boolean): Bound {
  if (min > MAX_REPEATS) return UNBOUNDED;
  // An iteration is followed by those that must still come.
  const goesBack = tailFails || min > 1;
  const once = boundElement(element, goesBack);
  const canFail = min > 0 && once.canFail;
  const isLong = max > MAX_REPEATS;
  if (isSingle(element)) {
    if (!tailFails) return { ...ONE_WAY, canFail };
    return isLong ? { ways: 1, loops: 1, loopsOver: [element], canFail } : { ...ONE_WAY, ways: max - min + 1, canFail };
  }
  // Each iteration of a long loop may be cut in another way, which multiplies without end.
  if (isLong) return goesBack || once.loops > 0 ? UNBOUNDED : { ...once, canFail };
  const ends = tailFails ? max - min + 1 : 1;
  return { ...once, ways: ends * once.ways ** max, loops: once.loops * max, canFail };
}

/** Whether an element matches one character, in one way. */
function isSingle({ type }: AST.QuantifiableElement): boolean {
  return type === "Character" || type === "CharacterSet" || type === "CharacterClass";
}
