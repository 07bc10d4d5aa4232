/** How a run is done again: the command for a shell, and the link to the lab with the same settings. Purely from data. */
import type { RunInput } from "./result-file.js";
import { checkSettings, DEFAULT_SETTINGS, type RunSettings, SETTING_NAMES } from "./run-settings.js";

/** Which model, what it is given, and how it is run. */
export interface Rerun {
  readonly model: string;
  /** `<owner>/<repository>/<file>` of a hub; null: not known. */
  readonly from: string | null;
  readonly settings: RunSettings;
  readonly input: RunInput;
}

/** The command line that does the same. */
export function commandOf({ model, settings, input }: Rerun): string {
  const words = [
    input.kind === "text" ? "run" : "chat",
    quoted(model),
    ...inputFlags(input),
    ...settingFlags(settings),
  ];
  if (settings.drafts === "lossless") words.push("--lossless");
  else if (settings.drafts !== "off" && input.kind === "text") words.push("--speculate", settings.drafts);
  return `flashwick ${words.join(" ")}`;
}

function inputFlags(input: RunInput): string[] {
  if (input.kind === "text") return ["--prompt", quoted(input.prompt)];
  return input.messages.flatMap(({ role, content }) => {
    if (role === "assistant") return [];
    return [role === "system" ? "--system" : "--message", quoted(content)];
  });
}

/** A flag for each setting that is not as it is without it. */
function settingFlags(settings: RunSettings): string[] {
  const { budgetPercent, maxTokens, temperature, window, policy, predictor, threshold, backend, threads, readers } =
    settings;
  const flags: readonly (readonly [string, string | number | null])[] = [
    ["--dram-budget", `${budgetPercent}%`],
    ["--max-tokens", maxTokens],
    ["--temperature", temperature === 0 ? null : temperature],
    ["--window", window],
    ["--policy", policy],
    ["--predictor", predictor && quoted(predictor)],
    ["--threshold", threshold],
    ["--backend", backend === "wasm" ? null : backend],
    ["--threads", threads],
    ["--readers", readers],
  ];
  return flags.flatMap(([flag, value]) => (value === null ? [] : [flag, `${value}`]));
}

/** In what the command differs from the page. */
export function notesOf({ settings, input }: Rerun): string[] {
  const notes = ["The command reads the model from the folder that it is run in."];
  if (input.kind === "text") notes.push("The page goes on after the model's end of text; the command stops there.");
  else notes.push("The command writes every reply of the conversation anew.");
  if (input.kind === "chat" && ["lookup", "auto"].includes(settings.drafts)) {
    notes.push("The command does not draft replies by lookup; the text is the same.");
  }
  if (settings.backend === "webgpu") notes.push("The command needs the npm package webgpu.");
  return notes;
}

/** A word of a POSIX shell. */
function quoted(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** @param page Address of the lab; its own fragment is left out. */
export function linkTo(page: string, { model, from, settings, input }: Rerun): string {
  const fields = new URLSearchParams({ model });
  if (from !== null) fields.set("from", from);
  for (const name of SETTING_NAMES) {
    if (settings[name] !== DEFAULT_SETTINGS[name] || name === "budgetPercent") fields.set(name, `${settings[name]}`);
  }
  const [name, text] = firstWords(input);
  if (text !== "") fields.set(name, text);
  const system = systemPrompt(input);
  if (system !== "") fields.set("system", system);
  return `${page.split("#")[0]}#${fields}`;
}

/** The first text of a person, and what it is called in a link. */
export function firstWords(input: RunInput): ["prompt" | "message", string] {
  if (input.kind === "text") return ["prompt", input.prompt];
  return ["message", input.messages.find(({ role }) => role === "user")?.content ?? ""];
}

/** Empty: the template's own. */
export function systemPrompt(input: RunInput): string {
  return input.kind === "text" ? "" : (input.messages.find(({ role }) => role === "system")?.content ?? "");
}

/**
 * What a link says; null for a fragment that names no model.
 *
 * @throws {InputError} `INPUT_INVALID` naming a setting that cannot be.
 */
export function readLink(fragment: string): Rerun | null {
  const fields = new URLSearchParams(fragment.replace(/^#/, ""));
  const model = fields.get("model");
  if (model === null || model === "") return null;
  const given = SETTING_NAMES.flatMap((name) => {
    const value = fields.get(name);
    return value === null ? [] : [[name, settingValue(name, value)]];
  });
  const settings = checkSettings("the link", Object.fromEntries(given));
  return { model, from: fields.get("from"), settings, input: inputOf(fields) };
}

function inputOf(fields: URLSearchParams): RunInput {
  const message = fields.get("message");
  if (message === null) return { kind: "text", prompt: fields.get("prompt") ?? "" };
  const system = fields.get("system") ?? "";
  const before = system === "" ? [] : [{ role: "system" as const, content: system }];
  return { kind: "chat", messages: [...before, { role: "user", content: message }] };
}

/** As a file would have it: numbers where there can be some. */
function settingValue(name: keyof RunSettings, text: string): unknown {
  if (text === "null") return null;
  if (name === "policy" || name === "predictor" || name === "drafts" || name === "backend") return text;
  const number = Number(text);
  return text.trim() === "" || Number.isNaN(number) ? text : number;
}
