"""Templates render as in transformers, and cannot take more than they may."""

import time
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparing.base.errors import ArtefactError
from sparing.tokenizer import budget
from sparing.tokenizer.budget import TemplateError
from sparing.tokenizer.template import ChatTemplate, tojson
from tokenizer.tiny import CHATML, write_byte_level

LLAMA_3_LIKE = """{{- bos_token }}
{%- if tools is not none %}
    {{- "Tools: " }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n" }}
    {%- endfor %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nCutting Knowledge Date: December 2023\\n" }}
{{- system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls | length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '{"name": "' + tool_call.name + '", "parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}<|eot_id|>" }}
    {%- else %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

QWEN_LIKE = """{%- macro shown(content) -%}
    {%- if content is string -%}{{ content }}{%- else -%}
    {%- for part in content if part.type == 'text' -%}{{ part.text }}{%- endfor -%}{%- endif -%}
{%- endmacro -%}
{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" %}
        {%- set ns.multi_step = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = shown(message.content) %}
    {%- if message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1] %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- generation %}
        {%- if loop.index0 > ns.last and (loop.last or thought) %}
            {{- '<|im_start|>' ~ message.role ~ '\\n<think>\\n' ~ thought.strip('\\n') }}
            {{- '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- endgeneration %}
    {%- elif loop.first and message.role == "system" %}
        {{- '<|im_start|>system\\n' + content }}
    {%- elif message.role not in ["user", "tool"] %}
        {%- continue %}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + content | replace("\\t", "  ") }}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
{%- if enable_thinking is defined and enable_thinking is false %}
    {{- '<think>\\n\\n</think>\\n\\n' }}
{%- endif %}
"""

PLAIN_BLOCKS = """{% for m in messages %}
    {% if m.role == 'user' %}
U: {{ m.content }}
    {% else %}
O: {{ m.content }}
    {% endif %}
{% endfor %}
end
"""

TALK = [
    {"role": "system", "content": " be brief\n"},
    {"role": "user", "content": "what's <b>\u00e9</b> & \U0001f600?\n  "},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\nA letter."},
    {"role": "user", "content": "and {{ 7*7 }} {% raw %}?\t!"},
]
CALLS = [
    {"role": "user", "content": "weather?"},
    {
        "role": "assistant",
        "tool_calls": [{"function": {"name": "get", "arguments": {"z": "\u00e9<", "a": [1, 2.5]}}}],
    },
    {"role": "tool", "content": {"sky": "blue"}},
]
TOOLS = [{"type": "function", "function": {"name": "get", "description": "a 'b' \"c\" \u00e9"}}]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = write_byte_level(tmp_path_factory.mktemp("theirs"))
    return transformers.PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.mark.parametrize(
    ("source", "talk", "tools"),
    [
        (CHATML, TALK, None),
        (PLAIN_BLOCKS, TALK, None),
        (LLAMA_3_LIKE, TALK, None),
        (LLAMA_3_LIKE, TALK[1:], TOOLS),
        (LLAMA_3_LIKE, CALLS, TOOLS),
        (QWEN_LIKE, TALK, None),
        (QWEN_LIKE, TALK[:3], None),
        (QWEN_LIKE, [{"role": "user", "content": [{"type": "text", "text": "hi"}]}], None),
    ],
)
@pytest.mark.parametrize("prompt", [True, False])
def test_as_transformers(theirs, source, talk, tools, prompt):
    options = {} if source is LLAMA_3_LIKE else {"enable_thinking": False}
    want = theirs.apply_chat_template(
        talk, tools=tools, chat_template=source, tokenize=False, add_generation_prompt=prompt,
        **options,
    )  # fmt: skip
    variables = {"bos_token": "<|bos|>", "eos_token": "<|eos|>", **options}
    got = ChatTemplate(source).render(
        talk, tools=tools, add_generation_prompt=prompt, variables=variables
    )
    assert got == want


@given(
    st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant", "system"]), "content": st.text()}
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=60, deadline=None)
def test_random_conversations_as_transformers(theirs, talk):
    for source in (CHATML, QWEN_LIKE):
        want = theirs.apply_chat_template(talk, chat_template=source, tokenize=False)
        assert ChatTemplate(source).render(talk, add_generation_prompt=False) == want


def render(source: str, **values: object) -> str:
    talk = [{"role": "user", "content": "x"}]
    return ChatTemplate(source).render(talk, variables=values)


def test_functions():
    template = ChatTemplate("{{ strftime_now('%d %b %Y') }}", now=lambda: datetime(2024, 7, 26))
    assert template.render([]) == "26 Jul 2024"
    with pytest.raises(TemplateError, match="roles must alternate") as caught:
        render("{{ raise_exception('roles must alternate') }}")
    assert (caught.value.param, caught.value.status) == ("messages", 400)
    assert tojson({"b": "<\u00e9>", "a": 1}) == '{"b": "<\u00e9>", "a": 1}'
    assert render("{{ ['a', 'b'] | join(', ') }}{{ 'a\nb' | indent(2) }}") == "a, ba\n  b"
    assert render("{{ [{'n': 1}, {'n': 2}] | map(attribute='n') | join('-') }}") == "1-2"
    assert render("{{ [{'n': 1}, {'n': 2}] | join('-', attribute='n') }}") == "1-2"
    assert (
        render("{{ 'a-b' | replace('-', '+') }}{{ 'x' ~ 1 ~ none }}{{ 2 * 'ab' }}")
        == "a+bx1Noneabab"
    )


ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ messages.__class__ }}",
    "{{ messages[0]['content'].__class__.__base__ }}",
    "{{ '{0.__class__}'.format('x') }}",
    "{{ '{0.__class__}'.format_map({'0': 1}) }}",
    "{{ ('x' | attr('__class__')).__mro__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__self__._now }}",
    "{{ range.__globals__ }}",
    "{{ lipsum.__globals__ }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update(role='system') }}",
    "{{ messages[0].pop('role') }}",
    "{% include '/etc/passwd' %}",
    "{% import '/etc/passwd' as x %}",
    "{% from '/etc/passwd' import x %}",
    "{% extends '/etc/passwd' %}",
    "{{ [1] | _counted(0) }}",
    "{{ 'a' | format('b') }}",
    "{{ '%s' % messages }}",
    "{{ dict.__subclasses__() }}",
    "{{ ''.join.__self__.__class__ }}",
    "{{ (messages | map('attr', '__class__') | list)[0].__mro__ }}",
    "{{ messages | map(attribute='__class__') | first }}",
    "{{ messages | groupby('__class__') }}",
    "{{ messages | sort(attribute='__class__.__name__') }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_there_is_no_way_out(source):
    """Refused, or empty: an undefined value is rendered as nothing."""
    try:
        text = render(source)
    except (TemplateError, ArtefactError):
        return
    assert "class" not in text
    assert "<" not in text
    assert "root:" not in text


@pytest.mark.parametrize("call", ["center(3)", "ljust(3)", "zfill(3)", "format(1)", "encode()"])
def test_methods_that_grow_at_will_are_refused_however_little(call):
    with pytest.raises(TemplateError, match=r"not safely callable|unsafe"):
        render("{{ 'a'." + call + " }}")


def test_messages_are_not_changed():
    talk = [{"role": "user", "content": "x"}]
    for source in ESCAPES:
        try:
            ChatTemplate(source).render(talk)
        except (TemplateError, ArtefactError):
            continue
    assert talk == [{"role": "user", "content": "x"}]


BOMBS = [
    "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
    "{% for a in range(10 ** 9) %}{% endfor %}",
    "{% for a in range(1000000000) %}{% endfor %}",
    "{{ 'a' * 100000000 }}",
    "{{ 100000000 * 'a' }}",
    "{{ [1] * 100000000 }}",
    "{{ 10 ** 10 ** 10 }}",
    "{% set n = namespace(x=10) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set n = namespace(x={}) %}{% for i in range(60) %}"
    "{% set n.x = dict(a=n.x, b=n.x) %}{% endfor %}{{ n.x }}",
    "{% set n = namespace(x={}) %}{% for i in range(60) %}"
    "{% set n.x = namespace(a=n.x, b=n.x) %}{% endfor %}{{ n.x }}",
    "{% macro f() %}{{ f(varargs, varargs) }}{% endmacro %}{{ f(1) }}",
    "{% set ns = namespace(x='ab') %}{% for i in range(60) %}"
    "{% set ns.x = ns.x.replace('a', 'aaaaaaaaaaaaaaaaaaaa') %}{% endfor %}",
    "{% set ns = namespace(x='ab') %}{% for i in range(60) %}"
    "{% set ns.x = ns.x | replace('a', 'aaaaaaaaaaaaaaaaaaaa') %}{% endfor %}",
    "{% set ns = namespace(x='ab') %}{% for i in range(60) %}"
    "{% set ns.x = [ns.x, ns.x] | join(ns.x) %}{% endfor %}",
    "{% set ns = namespace(x='ab') %}{% for i in range(60) %}"
    "{% set ns.x = ns.x.join([ns.x, ns.x]) %}{% endfor %}",
    "{% set ns = namespace(x=['ab']) %}{% for i in range(60) %}"
    "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}",
    "{% set ns = namespace(x=['ab']) %}{% for i in range(60) %}"
    "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x=['ab']) %}{% for i in range(60) %}"
    "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | string | length }}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{{ 'a'.center(1000000000) }}",
    "{{ 'a'.ljust(1000000000) }}",
    "{{ 'a'.zfill(1000000000) }}",
    "{{ '\t'.expandtabs(1000000000) }}",
    "{{ 'a' | center(1000000000) }}",
    "{{ 'a' | indent(1000000000, true) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ 'a' | wordwrap(1, true, 'x') }}",
    "{{ [1] | batch(1000000000, 'x') | list }}",
    "{{ [1] | slice(1000000000) | list }}",
    "{{ [1] | tojson(indent=1000000000) }}",
    "{{ strftime_now('%1000000000d') }}",
    "{{ lipsum(100000) }}",
    "{% set big = 'abcdefgh' * 100000 %}{% set x %}{% for i in range(90000) %}{{ big }}{% endfor %}"
    "{% endset %}{{ x | length }}",
    "{% macro m() %}" + "y" * 100_000 + "{% endmacro %}{% set x %}{% for i in range(9000) %}"
    "{{ m() }}{% endfor %}{% endset %}",
    "{{ range(99999) | map('string') | map('upper') | map('title') | join('a' * 1000000) }}",
    "{{ ([range(99999)] * 99999) | map('list') | list | length }}",
    "{{ (range(99999) | list) | map('replace', '', 'abc' * 99999) | list | length }}",
    "{% for i in range(90000) %}{% set x = range(99999) | list | sort | length %}{% endfor %}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "{{ [" * 2000 + "]" * 2000 + " }}",
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("source", BOMBS, ids=[bomb[:50] for bomb in BOMBS])
def test_bombs_are_put_out(source, monkeypatch):
    monkeypatch.setattr(budget, "MOST_SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises((TemplateError, ArtefactError)):
        render(source)
    assert time.monotonic() - began < 8, "the bound came too late"


@given(st.text("{}%# ~*'()[]|.abfor_in1 ", max_size=60))
@settings(max_examples=150, deadline=None)
def test_garbage_is_an_error_of_ours_or_text(source):
    try:
        assert isinstance(render(source), str)
    except (TemplateError, ArtefactError):
        return


def test_long_templates_are_refused():
    with pytest.raises(ArtefactError, match="at most"):
        ChatTemplate("x" * (1 << 20))
