// The conversation as elements; text is only ever set as text.

import { rendered } from "./api.js";

const RENDER_MS = 500;
const BLOCKS = new Set(["P", "UL", "OL", "LI", "PRE", "BLOCKQUOTE", "TABLE", "TBODY", "TR", "TD", "H1", "H2", "H3", "H4"]);
const list = () => document.getElementById("turns");
const scroll = () => document.getElementById("scroll");

export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** Follow the end of the conversation unless the reader has scrolled away from it. */
export function follow(always = false) {
  const box = scroll();
  if (always || box.scrollHeight - box.scrollTop - box.clientHeight < 120) box.scrollTop = box.scrollHeight;
}

export function addUser(text) {
  const turn = element("li", "turn user");
  turn.append(element("span", "hidden", "You: "), element("div", "said", text));
  list().append(turn);
  follow(true);
}

/** The model's turn: passages, words, a line of figures. */
export class Answer {
  constructor(model, { given = null } = {}) {
    this.text = "";
    this.turn = element("li", "turn model-turn working");
    this.who = element("p", "who", model);
    this.said = element("div", `said plain${given === null ? "" : " continued"}`);
    if (given !== null) this.said.append(element("span", "given", given));
    this.words = element("span", "tail");
    this.said.append(this.words);
    this.rendering = false;
    this.renderedAt = performance.now();
    this.turn.append(this.who, this.said);
    list().append(this.turn);
    follow(true);
  }

  showPassages(passages, index, caution) {
    if (!passages?.length || this.found) return;
    this.found = element("div", "found");
    this.found.append(element("p", "who", `Found in ${index}`));
    passages.forEach((passage, at) => this.found.append(card(passage, at)));
    this.turn.insertBefore(this.found, this.who);
    this.who.textContent += `, in its own words${caution}`;
    follow();
  }

  /** Text as it comes; with `markdown` what is there so far is rendered now and then. */
  add(text, { markdown }) {
    this.text += text;
    this.words.append(text);
    if (markdown && !this.rendering && performance.now() - this.renderedAt > RENDER_MS) this.render();
    follow();
  }

  /** The last state: Markdown in place of plain text, and what it cost. */
  async end(figures, { markdown }) {
    this.turn.classList.remove("working");
    while (this.rendering) await new Promise((done) => setTimeout(done, 20));
    if (markdown && this.text.trim()) await this.render();
    if (!this.text && !this.fault) this.words.append(element("i", "soft", "(no words)"));
    const foot = element("div", "foot");
    for (const part of figures) foot.append(element("span", "", part));
    if (this.text) foot.append(copyButton(this.text));
    this.turn.append(foot);
    follow();
  }

  /** The text so far as Markdown; what came meanwhile follows it as plain text. */
  async render() {
    const text = this.text;
    this.rendering = true;
    try {
      const nodes = await rendered(text);
      this.said.classList.remove("plain");
      this.said.replaceChildren(...nodes);
      this.words = element("span", "tail", this.text.slice(text.length));
      lastBlock(this.said).append(this.words);
      follow();
    } catch {
      // The plain text stays.
    }
    this.rendering = false;
    this.renderedAt = performance.now();
  }

  fail(message) {
    this.fault = element("p", "fault", message);
    this.fault.setAttribute("role", "alert");
    if (!this.text) this.said.hidden = true;
    this.turn.append(this.fault);
    follow();
  }
}

/** Where text goes on: the innermost block at the end. */
function lastBlock(node) {
  const last = node.lastElementChild;
  return last && BLOCKS.has(last.tagName) ? lastBlock(last) : node;
}

function card(passage, at) {
  const box = element("details", "passage");
  box.open = at === 0;
  const head = element("summary");
  head.append(
    element("span", "rank", String(at + 1)),
    element("span", "title", passage.title || passage.source),
    element("span", "score", passage.in_prompt ? `score ${passage.score.toFixed(2)}` : "no room in the prompt"),
    element("span", "source", passage.source),
  );
  box.append(head, element("pre", "", passage.text));
  return box;
}

function copyButton(text) {
  const button = element("button", "", "Copy");
  button.type = "button";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copying is not allowed here";
    }
  });
  return button;
}
