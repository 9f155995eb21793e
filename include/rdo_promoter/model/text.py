"""What people or servers wrote, made fit for a message of one line. Pure."""

from __future__ import annotations

import re

#: Characters of a line that still can be read; a value in it may have millions.
_LONGEST = 1500


def one_line(text: str, *, limit: int = _LONGEST) -> str:
    r"""Return the text so that it stays in its line, can be seen, and cannot pretend to be something else.

    Line breaks, control characters, invisible and direction-changing ones are written as in Python (``\n``,
    ``\x1b``, ``\u202e``). Too long a text loses its middle: what is wrong stands at its beginning, what to do
    at its end.

    :param limit: characters.
    """
    if not text.isprintable():
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    if len(text) <= limit:
        return text
    half = (limit - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def web_address(text: str) -> str:
    """Return the text when it is the address of a web page, and nothing otherwise: it becomes a link.

    :param text: what a server wrote.
    """
    return text if text.startswith(("https://", "http://")) and text.isprintable() and " " not in text else ""


def markdown(text: str) -> str:
    """Return the text so that Markdown shows it as it is: jobs and logs are named by other systems.

    :param text: what a server or a person wrote.
    """
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~-])", r"\\\1", one_line(text))
