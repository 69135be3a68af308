"""The engine over HTTP, in OpenAI's words, with a page for people.

settings     where to listen, which keys, how much at once
guard        the door: host, origin, key, security headers, last barrier
body         a strict JSON object from a request
fields       checks of single fields
protocol     bodies of chat and completion requests as checked records
errors       one body for every refusal
indexes      search indexes that a request may name
prepare      from a checked request to token ids with room in the context
gate         how many answers may be under way
costs        joules shared among the requests that ran
metrics      counters under vLLM's names
answer       one request's choices under way, given back once
replies      answers and chunks in OpenAI's shapes
events       server-sent events that stop when the reader goes away
render       Markdown as HTML that cannot run or load anything
facts        what is known of a model folder
pages        the files of the playground (web/)
app          the routes
wire         the HTTP reader, with bounds on a request's head
run          the port, the signals, the drain

Invariant: whatever a client sends or however it leaves, places, blocks and shares come back
(tests/server/test_app.py).
Elsewhere: scheduling and sampling (engine), templates (tokenizer), search (retrieval), meters
(measure).
"""
