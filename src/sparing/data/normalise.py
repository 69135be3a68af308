"""One spelling for equal texts: Unicode NFC, one line end, no stray control characters.

Every change is counted by its name, so that the manifest says what was done to the texts.
"""

import re
import unicodedata
from collections.abc import Callable

# C0 and C1 controls but tab, line feed and form feed (which divides sections of source code),
# zero-width no-break space inside text, and the interlinear and object marks.
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufeff\ufff9-\ufffc]")
_TRAILING = re.compile(r"[ \t\f]+(?=\n|\Z)")
_BLANKS = re.compile(r"\n{4,}")


def line_ends(text: str) -> str:
    """CR LF, CR, and the Unicode line and paragraph separators become LF."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\u2028", "\n").replace("\u2029", "\n\n").replace("\x85", "\n")


def nfc(text: str) -> str:
    """Canonical composition.  Source: Unicode Standard Annex 15."""
    return unicodedata.normalize("NFC", text)


def control_characters(text: str) -> str:
    """Control characters that are not layout vanish."""
    return _CONTROL.sub("", text)


def trailing_space(text: str) -> str:
    """No space before a line end."""
    if not any(end in text for end in (" \n", "\t\n", "\f\n")) and text[-1:] not in " \t\f":
        return text
    return _TRAILING.sub("", text)


def blank_lines(text: str) -> str:
    """At most two blank lines in a row; none at the beginning, one line end at the end."""
    if "\n\n\n\n" in text:
        text = _BLANKS.sub("\n\n\n", text)
    return text.strip("\n") + "\n"


CHANGES: dict[str, Callable[[str], str]] = {
    "line ends": line_ends,
    "NFC": nfc,
    "control characters": control_characters,
    "trailing space": trailing_space,
    "blank lines": blank_lines,
}
"""The changes in the order in which they are made; each is idempotent after those before it."""


def normalise(text: str) -> tuple[str, list[str]]:
    """The text in its one spelling, and the names of the changes that altered it."""
    made: list[str] = []
    for name, change in CHANGES.items():
        if (new := change(text)) != text:
            made.append(name)
            text = new
    return text, made
