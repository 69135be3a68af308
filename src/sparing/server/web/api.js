// What the server is asked, and how its answers are read.

export class ApiError extends Error {
  constructor(status, body) {
    super(body?.error?.message ?? `the server answered ${status}`);
    this.status = status;
    this.code = body?.error?.code ?? null;
  }
}

let key = "";

/** Keep the API key in this page's memory, and nowhere else. */
export function useKey(value) {
  key = value.trim();
}

function headers(extra = {}) {
  return key ? { ...extra, Authorization: `Bearer ${key}` } : extra;
}

async function refused(response) {
  let body = null;
  try {
    body = await response.json();
  } catch {
    // Not JSON: the status alone has to do.
  }
  return new ApiError(response.status, body);
}

export async function get(path) {
  const response = await fetch(path, { headers: headers() });
  if (!response.ok) throw await refused(response);
  return response.json();
}

export async function post(path, body, signal) {
  const response = await fetch(path, {
    method: "POST",
    headers: headers({ "Content-Type": "application/json" }),
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) throw await refused(response);
  return response;
}

/** Send a streaming request; yields each event's object until [DONE]. */
export async function* stream(path, body, signal) {
  const response = await post(path, body, signal);
  for await (const data of events(response.body.getReader())) {
    if (data === "[DONE]") return;
    const event = JSON.parse(data);
    if (event.error) throw new ApiError(500, event);
    yield event;
  }
  throw new ApiError(500, { error: { message: "the answer was cut off" } });
}

/** The data of each server-sent event; a line may come in several pieces. */
export async function* events(reader) {
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const lines = rest.split("\n");
      rest = lines.pop();
      for (const line of lines) if (line.startsWith("data: ")) yield line.slice(6);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** An answer's Markdown as nodes; the server renders and cleans it. */
export async function rendered(text) {
  const { html } = await (await post("/render", { text })).json();
  return [...new DOMParser().parseFromString(html, "text/html").body.childNodes];
}
