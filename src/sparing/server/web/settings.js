// The settings: shown in the panel, kept in this browser (the key is not).

const STORE = "sparing.settings";
const NUMBERS = { temperature: 0.7, top_p: 0.95, max_tokens: 256 };
const byId = (id) => document.getElementById(id);

/** Show what was kept, and keep what is changed. */
export function begin() {
  const kept = read();
  for (const [name, standard] of Object.entries(NUMBERS)) {
    const input = byId(name);
    input.value = kept[name] ?? standard;
    input.addEventListener("input", () => { show(name); keep(); });
    show(name);
  }
  byId("seed").value = kept.seed ?? "";
  byId("seed").addEventListener("input", keep);
}

function show(name) {
  const output = byId(`${name}-out`);
  if (output) output.textContent = Number(byId(name).value).toFixed(2);
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(STORE)) ?? {};
  } catch {
    return {};
  }
}

function keep() {
  const values = { seed: byId("seed").value };
  for (const name of Object.keys(NUMBERS)) values[name] = byId(name).value;
  try {
    localStorage.setItem(STORE, JSON.stringify(values));
  } catch {
    // Private windows may refuse; the settings then last as long as the page.
  }
}

/** The fields of a request that the panel sets. */
export function draw() {
  const fields = {
    temperature: Number(byId("temperature").value),
    top_p: Number(byId("top_p").value),
  };
  const most = Number.parseInt(byId("max_tokens").value, 10);
  if (most > 0) fields.max_tokens = most;
  const seed = Number.parseInt(byId("seed").value, 10);
  if (Number.isSafeInteger(seed)) fields.seed = seed;
  const index = byId("index").value;
  if (index) fields.index = index;
  return fields;
}

export function mode() {
  return document.querySelector('input[name="mode"]:checked').value;
}

/** A model without a chat template can only go on with a text; one never taught to chat should. */
export function allowChat(allowed, taught) {
  const chat = document.querySelector('input[name="mode"][value="chat"]');
  chat.disabled = !allowed;
  if (!allowed || !taught) document.querySelector('input[name="mode"][value="complete"]').checked = true;
  const note = byId("mode-note");
  note.hidden = allowed && taught;
  note.textContent = allowed
    ? "A base model: it goes on with what you write, and was never taught to chat."
    : "This model has no chat template: it goes on with what you write.";
}

export function offerIndexes(names) {
  byId("index-field").hidden = names.length === 0;
  const select = byId("index");
  select.replaceChildren(new Option("no index", ""), ...names.map((name) => new Option(name, name)));
  if (names.length > 0) select.value = names[0];
}
