// Speed and energy while an answer comes: numbers, and a line over time.

const byId = (id) => document.getElementById(id);
const WINDOW_MS = 900; // speed is the mean over this long
const POINTS = 120;
const BINS = 12; // points of the line of an answer that was over before it could be followed

export const figure = (value, digits = 3) =>
  value === null || value === undefined || !Number.isFinite(value)
    ? "-"
    : value >= 100 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(digits)).toString();

export const joulesText = (joules) =>
  joules === null || joules === undefined ? "unknown"
    : joules < 1 ? `${figure(joules * 1000)} mJ` : joules < 1e4 ? `${figure(joules)} J` : `${figure(joules / 1e3)} kJ`;

/** A figure and its unit, in joules or thousandths of them. */
const perToken = (each) => (each !== null && each < 0.1 ? [figure(each * 1000), "mJ"] : [figure(each), "J"]);

const secondsText = (s) => (s < 1 ? `${figure(s * 1000, 2)} ms` : `${figure(s)} s`);

const session = { answers: 0, tokens: 0, joules: 0, known: true };

/** Follows one answer from sending to the end. */
export class Live {
  constructor() {
    this.begun = performance.now();
    this.first = null;
    this.usage = null;
    this.marks = [];
    this.all = [];
    this.rates = [];
    this.timer = setInterval(() => this.draw(), 150);
    byId("strip-state").textContent = "waiting";
    byId("strip-joules").textContent = "";
    for (const id of ["rate", "joules", "first", "tokens", "energy", "carbon"]) byId(id).textContent = "-";
    draw([]);
  }

  /** A piece of the answer came, perhaps with the usage so far. */
  take(usage) {
    const now = performance.now();
    if (this.first === null) {
      this.first = now - this.begun;
      byId("first").textContent = secondsText(this.first / 1000);
      byId("strip-state").textContent = "answering";
    }
    if (usage) {
      this.usage = usage;
      this.marks.push([now, usage.completion_tokens]);
      this.all.push([now, usage.completion_tokens]);
    }
  }

  /** Tokens per second over the last moments. */
  rate() {
    const now = performance.now();
    while (this.marks.length > 2 && now - this.marks[1][0] > WINDOW_MS) this.marks.shift();
    if (this.marks.length < 2) return null;
    const [[t0, n0], [t1, n1]] = [this.marks[0], this.marks.at(-1)];
    return t1 - t0 > 250 ? ((n1 - n0) * 1000) / (Math.max(t1, now - 250) - t0) : null;
  }

  draw() {
    const rate = this.rate();
    if (rate !== null) {
      this.rates.push(rate);
      byId("rate").textContent = byId("strip-rate").textContent = figure(rate);
      draw(this.rates.slice(-POINTS));
    }
    if (this.usage) showCost(this.usage);
  }

  /** The end: exact figures, and the session's sum. Returns the line under the answer. */
  end(usage, reason) {
    clearInterval(this.timer);
    byId("strip-state").textContent = reason === "stopped" ? "stopped" : "done";
    if (this.rates.length < BINS) draw(binned(this.all));
    this.usage = usage ?? this.usage;
    if (!this.usage) return [];
    const { completion_tokens: tokens, sparing } = this.usage;
    const rate = sparing?.decode_seconds > 0 && tokens > 1 ? (tokens - 1) / sparing.decode_seconds : this.rate();
    byId("rate").textContent = byId("strip-rate").textContent = figure(rate);
    showCost(this.usage);
    add(this.usage);
    const parts = [`${tokens} tokens`, `${figure(rate)} tok/s`];
    if (this.first !== null) parts.push(`first after ${secondsText(this.first / 1000)}`);
    if (sparing?.joules != null) {
      parts.push(`${joulesText(sparing.joules)} ${sparing.label}`);
      if (tokens) parts.push(`${joulesText(sparing.joules / tokens)}/tok`);
    }
    if (reason === "length") parts.push("reached the token limit");
    if (reason === "stopped") parts.push("stopped by you");
    return parts;
  }
}

/** Speeds over equal parts of an answer, from [time, tokens so far] of each piece. */
function binned(marks) {
  if (marks.length < 3) return [];
  const [begin, end] = [marks[0][0], marks.at(-1)[0]];
  const edges = Array.from({ length: BINS + 1 }, (_, at) => begin + ((end - begin) * at) / BINS);
  const counts = edges.map((edge) => {
    const next = Math.max(marks.findIndex(([time]) => time >= edge), 1);
    const [[t0, n0], [t1, n1]] = [marks[next - 1], marks[next]];
    return t1 > t0 ? n0 + ((n1 - n0) * (edge - t0)) / (t1 - t0) : n1;
  });
  return counts.slice(1).map((count, at) => ((count - counts[at]) * 1000) / (edges[at + 1] - edges[at]));
}

function showCost(usage) {
  const { completion_tokens: tokens, prompt_tokens: given, sparing } = usage;
  byId("tokens").textContent = `${given} in, ${tokens} out`;
  const joules = sparing?.joules ?? null;
  const each = joules !== null && tokens > 0 ? joules / tokens : null;
  const [value, unit] = perToken(each);
  byId("joules").textContent = value;
  byId("joules-unit").textContent = `${unit} per token`;
  byId("strip-joules").textContent = each === null ? "" : `${value} ${unit}/tok`;
  byId("energy").textContent = joulesText(joules);
  byId("carbon").textContent = sparing?.gco2e == null ? "unknown"
    : sparing.gco2e < 0.01 ? `${figure(sparing.gco2e * 1e3)} mg` : `${figure(sparing.gco2e)} g`;
  const label = byId("label");
  label.hidden = !sparing?.label;
  label.textContent = `energy ${sparing?.label ?? ""}`;
  label.classList.toggle("measured", sparing?.label === "measured");
  byId("method-box").hidden = !sparing?.method;
  byId("method").textContent = sparing?.method ?? "";
}

function add(usage) {
  session.answers += 1;
  session.tokens += usage.completion_tokens;
  if (usage.sparing?.joules == null) session.known = false;
  else session.joules += usage.sparing.joules;
  const energy = session.known ? `, ${joulesText(session.joules).replace(" ", "\u00a0")}` : "";
  const plural = session.answers === 1 ? "answer" : "answers";
  byId("session").textContent =
    `This session: ${session.answers} ${plural}, ${session.tokens.toLocaleString("en")} tokens${energy}`;
}

function draw(rates) {
  const peak = Math.max(...rates, 1e-9) * 1.15;
  const x = (at) => ((at * 280) / Math.max(rates.length - 1, 1)).toFixed(1);
  const y = (rate) => (63 - (rate / peak) * 61).toFixed(1);
  const line = rates.length > 1 ? rates.map((rate, at) => `${at ? "L" : "M"}${x(at)} ${y(rate)}`).join("") : "";
  byId("spark-line").setAttribute("d", line);
  byId("spark-area").setAttribute("d", line && `${line}L280 64L0 64Z`);
  byId("spark-peak").textContent = rates.length ? `peak ${figure(peak / 1.15)}` : "";
}
