// The page: what is sent, when, and what happens with what comes back.

import { ApiError, get, stream, useKey } from "./api.js";
import { figure, Live } from "./live.js";
import * as settings from "./settings.js";
import { addUser, Answer, element } from "./turns.js";

const byId = (id) => document.getElementById(id);
const IDEAS = {
  chat: ["What is a list comprehension?", "Explain a KV cache in two sentences.", "Write a haiku about saving energy."],
  complete: ["def read_lines(path):", "The module provides", "import json\n\n"],
};

let model = null;
let messages = [];
let running = null;

async function connect() {
  try {
    model = (await get("/v1/models")).data[0];
    byId("key-field").hidden = true;
    settings.offerIndexes((await get("/v1/indexes")).data.map((index) => index.id));
    showModel();
  } catch (error) {
    const needsKey = error instanceof ApiError && error.status === 401;
    byId("key-field").hidden = !needsKey;
    byId("model").className = "model failed";
    byId("model-name").textContent = needsKey ? "needs an API key" : "no connection";
    if (needsKey) { openPanel(true); byId("key").focus(); }
  }
}

function showModel() {
  const facts = model.sparing ?? {};
  byId("model").className = "model ready";
  byId("model-name").textContent = model.id;
  settings.allowChat(Boolean(facts.chat), taught());
  byId("max_tokens").max = model.max_model_len;
  const rows = {
    Name: model.id,
    Parameters: facts.parameters ? `${figure(facts.parameters / 1e6)} million` : null,
    Weights: facts.weights,
    Size: facts.weight_bytes ? `${figure(facts.weight_bytes / 2 ** 20)} MiB` : null,
    "Made by": facts.made_by?.join(", "),
    Context: `${model.max_model_len.toLocaleString("en")} tokens`,
    Vocabulary: facts.vocab?.toLocaleString("en"),
    "Cost to make": facts.joules_to_make ? `${figure(facts.joules_to_make / 1e3)} kJ` : null,
  };
  byId("about").replaceChildren(...Object.entries(rows).filter(([, value]) => value).map(([name, value]) => {
    const row = element("div");
    row.append(element("dt", "", name), element("dd", "", value));
    return row;
  }));
  modeChanged();
}

/** Whether the model saw more than raw text, as far as its history is known. */
function taught() {
  return !(model.sparing?.made_by ?? []).includes("pretrain");
}

function modeChanged() {
  const chat = settings.mode() === "chat";
  const question = byId("index").value ? "Ask, or begin a text" : "Write the beginning of a text";
  byId("ask").placeholder = chat ? "Write a message" : question;
  byId("ask-label").textContent = chat ? "Your message" : "The beginning of a text";
  byId("ideas").replaceChildren(...IDEAS[settings.mode()].map((idea) => {
    const button = element("button", chat ? "" : "code", idea.trim());
    button.type = "button";
    button.addEventListener("click", () => { byId("ask").value = idea; grow(); send(); });
    return button;
  }));
}

function grow() {
  const box = byId("ask");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
  byId("send").disabled = !box.value.trim();
}

function request(text) {
  const shared = {
    model: model.id,
    stream: true,
    stream_options: { include_usage: true, continuous_usage_stats: true },
    ...settings.draw(),
  };
  if (settings.mode() === "complete") return ["/v1/completions", { ...shared, prompt: text }];
  return ["/v1/chat/completions", { ...shared, messages: [...messages, { role: "user", content: text }] }];
}

async function send() {
  const text = byId("ask").value;
  if (!text.trim() || running || !model) return;
  const chat = settings.mode() === "chat";
  const [path, body] = request(chat ? text.trim() : text);
  byId("welcome").hidden = true;
  if (chat || body.index) addUser(text.trim());
  byId("ask").value = "";
  grow();
  begin();
  const answer = new Answer(model.id, { given: chat || body.index ? null : text });
  const live = new Live();
  let usage = null;
  let reason = null;
  try {
    for await (const event of stream(path, body, running.signal)) {
      answer.showPassages(event.sparing?.passages, body.index, taught() ? "" : ": a small base model, right by chance");
      const choice = event.choices[0];
      if (event.usage && !choice) usage = event.usage;
      if (!choice) continue;
      const piece = chat ? choice.delta.content : choice.text;
      if (piece) { live.take(event.usage); answer.add(piece, { markdown: chat }); }
      reason = choice.finish_reason ?? reason;
    }
  } catch (error) {
    if (error.name === "AbortError") reason = "stopped";
    else answer.fail(error instanceof TypeError ? "The connection to the server was lost." : error.message);
    if (error.status === 401) connect();
  }
  if (chat && answer.text) messages.push({ role: "user", content: text.trim() }, { role: "assistant", content: answer.text });
  finish(reason);
  await answer.end(live.end(usage, reason), { markdown: chat });
}

function begin() {
  running = new AbortController();
  byId("send").hidden = true;
  byId("stop").hidden = false;
  byId("status").textContent = "The model is answering.";
}

function finish(reason) {
  running = null;
  byId("send").hidden = false;
  byId("stop").hidden = true;
  byId("status").textContent = reason === "stopped" ? "Stopped." : "The answer is complete.";
  if (!byId("panel").classList.contains("open")) byId("ask").focus({ preventScroll: true });
}

function openPanel(open) {
  byId("panel").classList.toggle("open", open);
  byId("panel-toggle").setAttribute("aria-expanded", String(open));
  byId("panel-toggle").textContent = open ? "Close" : "Settings";
}

function startAgain() {
  running?.abort();
  messages = [];
  byId("turns").replaceChildren();
  byId("welcome").hidden = false;
  byId("ask").focus();
}

byId("form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
byId("stop").addEventListener("click", () => running?.abort());
byId("fresh").addEventListener("click", startAgain);
byId("panel-toggle").addEventListener("click", () => openPanel(!byId("panel").classList.contains("open")));
byId("ask").addEventListener("input", grow);
byId("ask").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (running) running.abort();
  else openPanel(false);
});
document.querySelectorAll('input[name="mode"]').forEach((input) =>
  input.addEventListener("change", () => { startAgain(); modeChanged(); }));
byId("index").addEventListener("change", modeChanged);
byId("key").addEventListener("change", (event) => { useKey(event.target.value); connect(); });

settings.begin();
grow();
connect();
