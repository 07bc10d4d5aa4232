/** The conversation: its messages, the reply that comes, and what each reply cost. It begins anew with every model. */
import { formatBytes } from "@flashwick/core";
import type { ChatMessage } from "@flashwick/runtime";
import { showReplayable } from "./caches-panel.js";
import { chatSettings, controls } from "./controls.js";
import { textNode } from "./drafts-panel.js";
import { element } from "./elements.js";
import type { ReplyFigures, TextPiece } from "./messages.js";
import { say } from "./notices.js";
import { againstSaved } from "./restoring.js";
import { endRecord, recordText } from "./run-record.js";
import { beginRun, isRunning, stopRun } from "./runs.js";
import { showWelcome } from "./welcome.js";

/** One message as it stands on the page. */
interface Bubble {
  readonly whole: HTMLElement;
  readonly text: HTMLElement;
  readonly figures: HTMLElement;
}

/** Without the system prompt, which goes before them as it stands when a message is sent. */
let messages: ChatMessage[] = [];
/** The reply that is coming. */
let coming: { readonly task: number; readonly question: Bubble; readonly reply: Bubble } | null = null;
/** Numbers of all requests for replies: those of a conversation that was left are still heard of. */
const asked = new Set<number>();

/** Whether a request was for a reply, now or before. */
export function isReply(task: number): boolean {
  return asked.has(task);
}

function send(): void {
  const content = controls.message.value.trim();
  if (content === "" || isRunning()) return;
  controls.message.value = "";
  messages.push({ role: "user", content });
  const question = addBubble("user", "You");
  question.text.textContent = content;
  const reply = addBubble("assistant", "Model");
  reply.whole.setAttribute("aria-busy", "true");
  say("Taking in the message…");
  const system = controls.system.value.trim();
  const before: ChatMessage[] = system === "" ? [] : [{ role: "system", content: system }];
  const task = beginRun({ kind: "chat", ...chatSettings(), messages: [...before, ...messages] });
  asked.add(task);
  coming = { task, question, reply };
  showEmpty();
  scrollToEnd();
}

export function addReplyText(task: number, { text, isDraft }: TextPiece): void {
  if (coming?.task !== task) return;
  const log = element("transcript");
  recordText(text);
  // Whoever has scrolled up is reading.
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
  if (coming.reply.text.textContent === "") say("Replying…");
  coming.reply.text.append(textNode(text, isDraft));
  if (isAtEnd) scrollToEnd();
}

/** The reply is complete, or was stopped: it stays as far as it came. */
export function endReply(task: number, figures: ReplyFigures): void {
  const record = endRecord(figures);
  const done = `Done: ${figures.tokensPerSec.toFixed(1)} tokens a second.${record ? againstSaved(record) : ""}`;
  say(figures.end === "aborted" ? "Stopped." : done);
  if (coming?.task !== task) return;
  if (figures.tokens.length === 0 && figures.end === "aborted") takeBack(task);
  else keepReply(coming.reply, figures);
}

function keepReply({ whole, text, figures: line }: Bubble, figures: ReplyFigures): void {
  messages.push({ role: "assistant", content: text.textContent ?? "" });
  whole.removeAttribute("aria-busy");
  const { tokens, end, dramBytes, tokensPerSec, firstTokenMs, flashBytesPerToken, replayable } = figures;
  // Unrounded, for whoever measures.
  Object.assign(whole.dataset, {
    tokens: tokens.join(" "),
    end,
    dramBytes,
    tokensPerSec,
    firstTokenMs,
    flashBytesPerToken,
  });
  line.textContent = figureText(figures);
  showReplayable(replayable);
  coming = null;
  scrollToEnd();
}

/** Nothing came of a message: it is put back where it was written. */
export function takeBack(task: number): void {
  if (coming?.task !== task) return;
  const { question, reply } = coming;
  controls.message.value = messages.pop()!.content;
  question.whole.remove();
  reply.whole.remove();
  coming = null;
  showEmpty();
}

export function resetChat(): void {
  if (coming) stopRun();
  coming = null;
  messages = [];
  for (const bubble of element("conversation").querySelectorAll(".message")) bubble.remove();
  showEmpty();
}

/** What the end of a reply means, where it did not end by itself. */
const ENDS: Readonly<Record<ReplyFigures["end"], string>> = {
  eos: "",
  stop: "",
  aborted: "stopped; ",
  length: "cut, more tokens are allowed in Settings; ",
  context: "the conversation is full, Reset begins anew; ",
};

function figureText(figures: ReplyFigures): string {
  const { end, tokensPerSec, firstTokenMs, flashBytesPerToken, cacheHitShare, tokenMs, dramBytes, fileBytes } = figures;
  const parts = [
    tokensPerSec > 0 ? `${tokensPerSec.toFixed(1)} tokens/s` : "",
    firstTokenMs === null ? "" : `first token after ${(firstTokenMs / 1000).toFixed(2)} s`,
    tokensPerSec > 0 ? `${formatBytes(flashBytesPerToken)} read from storage a token` : "",
    cacheHitShare === null ? "" : `${(100 * cacheHitShare).toFixed(1)} % found in memory`,
    tokensPerSec > 0 ? `slowest token ${tokenMs.max.toFixed(0)} ms` : "",
    `${formatBytes(dramBytes)} of memory, the file has ${formatBytes(fileBytes)}`,
    `${figures.usedTokens} of ${figures.contextTokens} tokens of text`,
  ];
  return ENDS[end] + parts.filter((part) => part !== "").join(" · ");
}

function addBubble(role: "user" | "assistant", who: string): Bubble {
  const [whole, name, text, figures] = ["article", "h3", "p", "p"].map((tag) => document.createElement(tag));
  whole!.className = `message ${role}`;
  name!.textContent = who;
  text!.className = "said";
  figures!.className = "quiet figures";
  whole!.append(name!, text!, figures!);
  element("conversation").append(whole!);
  return { whole: whole!, text: text!, figures: figures! };
}

function showEmpty(): void {
  showWelcome(messages.length === 0);
}

function scrollToEnd(): void {
  const log = element("transcript");
  log.scrollTop = log.scrollHeight;
}

element<HTMLFormElement>("chat-form").onsubmit = (event) => {
  event.preventDefault();
  send();
};
controls.message.onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
};
element("stop-reply").onclick = stopRun;
element("reset").onclick = resetChat;
