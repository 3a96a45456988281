r"""Text that comes from outside (names, paths, reasons), made safe for the format it is printed in.

Whatever it holds, it stays text: no escape sequence, markup, formula or command. A character that
cannot be seen is shown by its code, such as \x1b, and a byte that is not UTF-8 by its value.
"""

import re
from html import escape

# Without them, words of several Indian scripts and of Persian fall apart, and so do some emoji.
_JOINERS = "\u200c\u200d"
# What Markdown reads; an underscore inside a word and brackets that are followed by no target are
# ordinary text.
_MARKDOWN = re.compile(r"[\\`*<|~&$#]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])|!(?=\[)")
# What a spreadsheet takes for the beginning of a formula, in full width too.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_LATEX = str.maketrans(
    {
        **{char: f"\\{char}" for char in "{}$&#_%"},
        "\\": r"\textbackslash{}",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
    }
)


def terminal(text: str) -> str:
    """Return text for a terminal or a log.

    Lines after the first are indented, so that none passes for a message of its own.
    """
    return "\n  ".join(map(_visible, text.splitlines()))


def line(text: str) -> str:
    """Return text as one line, for a comment."""
    return " ".join(map(_visible, text.splitlines()))


def html(text: str) -> str:
    """Return text as one line of HTML, in an element or a quoted attribute."""
    return escape(line(text))


def markdown(text: str) -> str:
    """Return text as one line of Markdown, in a paragraph, a heading or a cell of a table."""
    return _MARKDOWN.sub(r"\\\g<0>", line(text))


def latex(text: str) -> str:
    """Return text as one line of LaTeX, in a paragraph or a cell of a table."""
    written = line(text).translate(_LATEX).replace(r"\textless{}=", r"$\le$")
    # After a row's end, either would belong to that end.
    return f"{{}}{written}" if written.lstrip().startswith(("[", "*")) else written


def spreadsheet(text: str) -> str:
    """Return text as one line in a cell that a spreadsheet does not take for a formula."""
    shown = line(text)
    return f"'{shown}" if _FORMULA.match(shown) else shown


def matplotlib(text: str) -> str:
    """Return text as one line in a figure of matplotlib, which takes what is between $ for TeX."""
    return line(text).replace("$", r"\$")


def _visible(text: str) -> str:
    """Return a line with the code of each character that cannot be seen in its place."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(char: str) -> str:
    if char.isprintable() or char in _JOINERS:
        return char
    if char.isspace():
        return " "
    if "\udc80" <= char <= "\udcff":  # how Python holds a byte of a path that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()
