/** What stands where the text will be: one click that begins, and the ways to bring a model. */
import { controls } from "./controls.js";
import { element } from "./elements.js";
import { ask } from "./engine-link.js";
import { say } from "./notices.js";

export function showWelcome(isEmpty: boolean): void {
  element("welcome").hidden = !isEmpty;
}

/** No model is stored: nothing else of the page is of use. */
export function showNoModel(): void {
  document.body.dataset.view = "none";
  element("text").textContent = "";
  showWelcome(true);
}

/** A click writes the text and sends it. */
for (const button of document.querySelectorAll<HTMLButtonElement>(".starters .starter")) {
  button.onclick = () => {
    const isChat = button.closest(".of-chat") !== null;
    (isChat ? controls.message : controls.prompt).value = button.textContent ?? "";
    element<HTMLFormElement>(isChat ? "chat-form" : "run-form").requestSubmit();
  };
}
element("go-file").onclick = () => element("file").click();
element("go-pull").onclick = () => {
  element<HTMLDetailsElement>("models").open = true;
  element("url").focus();
};
element("restore-demo").onclick = () => {
  say("Loading the bundled model…");
  ask({ kind: "restoreDemo" });
};
