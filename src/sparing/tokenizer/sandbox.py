"""Jinja2's immutable sandbox with every loop, call and value counted.

Every `for` is rewritten to count its rounds, every `~` to check its length before it joins, every
list or dictionary to check its weight; operators, calls, filters, attributes and outputs go
through the checks below.  Imports only where a
template is compiled: jinja2 takes longer to load than a small model.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sparing.tokenizer.budget import BUDGET, TemplateError, bounded, weigh

MOST_RANGE = 100_000
_MOST_INTEGER_BITS = 128

_FILTERS = frozenset(
    [
        "abs",
        "capitalize",
        "count",
        "d",
        "default",
        "dictsort",
        "e",
        "escape",
        "first",
        "float",
        "forceescape",
        "groupby",
        "int",
        "items",
        "join",
        "last",
        "length",
        "list",
        "lower",
        "map",
        "max",
        "min",
        "reject",
        "rejectattr",
        "replace",
        "reverse",
        "round",
        "safe",
        "select",
        "selectattr",
        "sort",
        "string",
        "sum",
        "title",
        "trim",
        "truncate",
        "unique",
        "upper",
        "urlencode",
        "wordcount",
        "indent",
    ]
)
_REFUSED_METHODS = frozenset(
    [
        "format",
        "format_map",
        "center",
        "ljust",
        "rjust",
        "zfill",
        "expandtabs",
        "translate",
        "encode",
        "to_bytes",
    ]
)


class _Generation(Extension):
    """`{% generation %}`, which marks the assistant's words for training; here its body only."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with operators and calls bounded."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        BUDGET.spend(rounds=1)
        if operator == "**":
            raise TemplateError("powers are not allowed in templates")
        if operator == "%" and isinstance(left, (str, bytes)):
            raise TemplateError("formatting with % is not allowed in templates")
        if operator == "*":
            _check_product(left, right)
        elif operator == "+" and isinstance(left, (str, list, tuple)):
            weigh((left, right))
        return _charged(super().call_binop(context, operator, left, right))

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        BUDGET.spend(rounds=1)
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            _check_method(owner, __obj.__name__, args)
        if isinstance(__obj, jinja2.runtime.Macro):
            BUDGET.spend(chars=__self.literal_chars)
        weigh((args, kwargs))
        return _charged(super().call(__context, __obj, *args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, (str, bytes, int)) and attr in _REFUSED_METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        if isinstance(getattr(value, "__self__", None), str) and (
            value.__name__ in ("format", "format_map")
        ):
            raise TemplateError("unsafe method: str.format may pad to any width")

    literal_chars = 0
    """Characters that the template itself holds; what one macro call may write at most."""


def compile_template(
    source: str, functions: dict[str, Callable[..., Any]], tojson: Callable[..., str]
) -> jinja2.Template:
    """The template, ready to render under `BUDGET`.

    Errors: jinja2.TemplateError when it does not parse or uses what is refused.
    """
    environment = _Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, loopcontrols],
        finalize=_finalize,
        cache_size=0,
        optimized=False,
    )
    own = {"tojson": tojson, "join": _join, "replace": _replace, "indent": _indent}
    filters = {name: environment.filters[name] for name in _FILTERS} | own
    environment.filters = {name: _measured(function) for name, function in filters.items()}
    environment.filters |= {"_counted": _counted, "_joined": _joined, "_weighed": _weighed}
    names: Any = environment.globals
    kept = {name: names[name] for name in ("dict", "namespace", "cycler", "joiner")}
    names.clear()
    names.update(kept, range=_range, **functions)
    tree = environment.parse(source)
    _refuse_imports(tree)
    environment.literal_chars = _literal_chars(tree)
    _weigh_literals(tree)
    _count_loops(tree)
    _join_safely(tree)
    code = environment.compile(tree)
    return jinja2.Template.from_code(environment, code, environment.globals)


def _refuse_imports(tree: nodes.Template) -> None:
    refused = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
    for node in tree.find_all(refused):
        name = type(node).__name__.lower()
        raise jinja2.TemplateSyntaxError(f"{name} is not allowed", node.lineno)
    for node in tree.find_all(nodes.Filter):
        if node.name.startswith("_"):
            raise jinja2.TemplateSyntaxError(f"no filter named {node.name!r}", node.lineno)


def _literal_chars(node: nodes.Node) -> int:
    return sum(len(each.data) for each in node.find_all(nodes.TemplateData))


def _count_loops(tree: nodes.Template) -> None:
    for loop in list(tree.find_all(nodes.For)):
        chars = nodes.Const(_literal_chars(loop))
        loop.iter = nodes.Filter(loop.iter, "_counted", [chars], [], None, None, lineno=loop.lineno)


def _join_safely(tree: nodes.Template) -> None:
    """Turn every `a ~ b` into a call that checks the length first."""
    for node in list(tree.find_all(nodes.Concat)):
        node.nodes = [
            nodes.Filter(nodes.List(node.nodes), "_joined", [], [], None, None, lineno=node.lineno)
        ]


def _weigh_literals(node: nodes.Node) -> None:
    """Pass every list, tuple and dictionary with something in it through a weighing filter."""
    for name in node.fields:
        value = getattr(node, name)
        if isinstance(value, nodes.Node):
            setattr(node, name, _weighing(value))
        elif isinstance(value, list):
            setattr(node, name, [_weighing(e) if isinstance(e, nodes.Node) else e for e in value])


def _weighing(node: nodes.Node) -> nodes.Node:
    _weigh_literals(node)
    filled = (isinstance(node, (nodes.List, nodes.Dict)) and node.items) or (
        isinstance(node, nodes.Tuple) and node.ctx == "load" and node.items
    )
    if not filled:
        return node
    return nodes.Filter(node, "_weighed", [], [], None, None, lineno=node.lineno)


def _weighed(value: Any) -> Any:
    weigh(value)
    return value


def _charged(value: Any) -> Any:
    if isinstance(value, (str, list, tuple, dict)):
        BUDGET.spend(work=len(value))
    return value


def _measured(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, with its call counted and its result charged; jinja's marks are kept."""

    @functools.wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        BUDGET.spend(rounds=1)
        return _charged(function(*args, **kwargs))

    return counted


def _counted(items: Any, chars: int) -> Iterator[Any]:
    for item in items:
        BUDGET.spend(rounds=1, chars=chars)
        yield item


def _joined(parts: list[Any]) -> str:
    texts = [str(part) for part in parts]
    bounded(sum(map(len, texts)))
    BUDGET.spend(rounds=1, work=sum(map(len, texts)))
    return "".join(texts)


def _finalize(value: Any) -> Any:
    if isinstance(value, str):
        BUDGET.spend(chars=len(value))
        return value
    text = str(value)
    BUDGET.spend(chars=len(text))
    return text


def _range(*args: int) -> range:
    numbers = range(*args)
    if len(numbers) > MOST_RANGE:
        raise TemplateError(f"range of {len(numbers)}; the most is {MOST_RANGE}")
    return numbers


def _check_product(left: Any, right: Any) -> None:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, (str, bytes, list, tuple)) and isinstance(other, int):
            bounded(weigh(one) * max(other, 0))
        if isinstance(one, int) and one.bit_length() > _MOST_INTEGER_BITS:
            raise TemplateError("a whole number that is too large")


def _check_method(owner: str, name: str, args: tuple[Any, ...]) -> None:
    """Bound what a text method that can grow its text may make."""
    if name == "replace" and len(args) >= 2 and all(isinstance(arg, str) for arg in args[:2]):
        old, new = args[:2]
        bounded(len(owner) + (len(owner) // max(len(old), 1) + 1) * len(new))
    if name == "join" and args:
        _bound_join(args[0], len(owner))


def _bound_join(items: Any, between: int) -> None:
    if isinstance(items, (list, tuple, dict)):
        bounded(sum(len(item) + between for item in items if isinstance(item, str)))


def _join(items: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    texts: list[str] = []
    total = 0
    for item in items:
        if attribute is not None:
            item = item[attribute] if isinstance(item, dict) else jinja2.Undefined()
        texts.append(str(item))
        total += len(texts[-1]) + len(d)
        bounded(total)
        BUDGET.spend(rounds=1)
    return str(d).join(texts)


def _replace(text: Any, old: str, new: str, count: int = -1) -> str:
    text, old, new = str(text), str(old), str(new)
    _check_method(text, "replace", (old, new))
    return text.replace(old, new, -1 if count is None else count)


def _indent(text: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    if isinstance(width, int):
        bounded(max(width, 0))
    step = width if isinstance(width, str) else " " * width
    lines = str(text).splitlines()
    bounded(len(str(text)) + len(step) * (len(lines) + 1))
    shown = [step + line if line or blank else line for line in lines[1:]]
    head = lines[:1] if not first else [step + line for line in lines[:1]]
    return "\n".join([*head, *shown])
