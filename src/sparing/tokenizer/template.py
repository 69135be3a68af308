"""Chat templates: code from a model folder, run in a sandbox with a bound on everything.

Templates see what `transformers` gives them: `messages`, `tools`, `documents`,
`add_generation_prompt`, the special tokens, `raise_exception`, `strftime_now`, `tojson`, loop
controls and `{% generation %}`.  Jinja2's immutable sandbox keeps them away from Python;
`budget` and `sandbox` keep them away from our time and memory.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from sparing.base.errors import ArtefactError
from sparing.base.limits import LIMITS
from sparing.tokenizer.budget import BUDGET, TemplateError, bounded

if TYPE_CHECKING:
    import jinja2

_MOST_DATE_CHARS = 100


class ChatTemplate:
    """A chat template, compiled when it is first used.

    Errors: ArtefactError when it is too long.
    """

    def __init__(self, source: str, *, now: Callable[[], datetime] = datetime.now) -> None:
        if len(source) > LIMITS.template_chars:
            raise ArtefactError(
                f"chat template: expected at most {LIMITS.template_chars} characters, "
                f"got {len(source)}"
            )
        self.source, self._now = source, now
        self._compiled: jinja2.Template | None = None

    def compile(self) -> "jinja2.Template":
        """The compiled template.

        Errors: ArtefactError when it does not parse or uses what templates may not.
        """
        import jinja2

        from sparing.tokenizer.sandbox import compile_template

        BUDGET.refill()
        functions = {"raise_exception": _raise_exception, "strftime_now": self._strftime_now}
        try:
            return compile_template(self.source, functions, tojson)
        except jinja2.TemplateError as error:
            raise ArtefactError(f"chat template: {_short(error)}") from None
        except (RecursionError, SyntaxError, MemoryError, OverflowError, ValueError) as error:
            raise ArtefactError(f"chat template: does not compile: {_short(error)}") from None

    def render(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        tools: Sequence[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        variables: dict[str, Any] | None = None,
    ) -> str:
        """The conversation as text.

        Errors: TemplateError when the template raises, fails, or reaches a bound.
        """
        if self._compiled is None:
            self._compiled = self.compile()
        values = {
            **(variables or {}),
            "messages": messages,
            "tools": tools,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        return _render(self._compiled, values)

    def _strftime_now(self, form: str) -> str:
        if not isinstance(form, str) or len(form) > _MOST_DATE_CHARS or any(map(str.isdigit, form)):
            raise TemplateError("strftime_now: expected a short date format")
        return self._now().strftime(form)


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without HTML escapes and with keys in their own order, as transformers writes it."""
    if indent is not None and not (isinstance(indent, int) and 0 <= indent <= 16):
        raise TemplateError("tojson: expected an indent of 0 .. 16")
    text = json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    bounded(len(text))
    return text


def _render(compiled: "jinja2.Template", values: dict[str, Any]) -> str:
    import jinja2

    BUDGET.refill()
    try:
        text = compiled.render(values)
    except TemplateError:
        raise
    except jinja2.TemplateError as error:
        raise TemplateError(_short(error)) from None
    except RecursionError:
        raise TemplateError("nested too deep") from None
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise TemplateError(_short(error)) from None
    bounded(len(text))
    return text


def _raise_exception(message: object) -> NoReturn:
    raise TemplateError(str(message)[:500])


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
