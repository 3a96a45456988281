"""Secrets, kept out of what a run leaves: its folder, its log, W&B's files, messages.

A secret is the value of an environment variable named like one, the password in a URL, or what has
the form of a token or follows a name such as HF_TOKEN.
"""

import json
import logging
import os
import re
from collections.abc import Iterator
from copy import copy
from urllib.parse import quote

from said_lightning.runs.text import terminal

_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
# Shorter values, such as a 1, are settings, and would be found in any text.
_LENGTH = 8
_PASSWORD = re.compile(r"://[^\s/:@]*:([^\s/@]+)@")
_FORMS = (
    (re.compile(r"(\b[A-Za-z][\w+.-]*://)[^\s/@]+@"), r"\1***@"),
    (re.compile(r"\b(?:hf_|gh[pousr]_)[A-Za-z0-9]{30,}"), "***"),
    (re.compile(r"\b(?:sk-|glpat-|github_pat_|wandb_v\d_|xox[abprs]-|AIza)[\w-]{20,}"), "***"),
    (re.compile(r"\bAKIA[A-Z0-9]{16}\b"), "***"),
    (re.compile(r"(?i)\b(bearer\s+|authorization\W{1,4}basic\s+)[\w.~+/=-]{8,}"), r"\1***"),
    (
        re.compile(r"(?i)([?&][\w.-]*(?:key|token|secret|passw|sig|credential)[\w.-]*=)[^&\s'\"]+"),
        r"\1***",
    ),
    # After its name: an environment's, or an argument's.
    (
        re.compile(
            r"((?<![A-Z0-9_])[A-Z0-9_]*(?:KEY|TOKEN(?!S)|SECRET|PASSW(?:OR)?D)[A-Z0-9_]*"
            r"['\"]?(?:=|: ?)['\"]?)[^\s'\",;]+"
        ),
        r"\1***",
    ),
    (
        re.compile(r"((?<!\w)\w*(?:api_?key|token|secret|passw(?:or)?d)=['\"]?)[^\s'\",;)]+"),
        r"\1***",
    ),
)


def scrub(text: str) -> str:
    """Replace every secret in a text by ***, as it is or as Python, JSON or a URL writes it."""
    for value in sorted(set(_values()), key=len, reverse=True):
        quoted = (repr(value)[1:-1], ascii(value)[1:-1], repr(os.fsencode(value))[2:-1])
        for form in (value, *quoted, json.dumps(value)[1:-1], quote(os.fsencode(value), safe="")):
            text = text.replace(form, "***")
    for pattern, kept in _FORMS:
        text = pattern.sub(kept, text)
    return text


def kept(text: str) -> str:
    """Return a text as a file may keep it: without secrets, and in UTF-8 whatever it holds."""
    return scrub(text).encode(errors="backslashreplace").decode()


def shown(message: str) -> str:
    """Return a message as a terminal shows it, whatever it holds, without secrets."""
    return terminal(scrub(message))


def validate_secret(key: str, text: str) -> list[str]:
    """Return a message, without the secret, where a value holds one."""
    if scrub(text) == text:
        return []
    return [
        f"{key}: holds a secret, which run folders, logs and W&B would keep; leave it out, and set "
        "it in the environment, which jobs inherit"
    ]


def _values() -> Iterator[str]:
    """Yield the secrets in the environment; a path to one is none."""
    for name, value in os.environ.items():
        if _NAMES.search(name) and not os.path.exists(value):
            found = [value]
        else:
            found = _PASSWORD.findall(value)
        yield from (one for one in found if len(one) >= _LENGTH)


class Scrub(logging.Formatter):
    """Format log records without secrets, tracebacks included, as another formatter does or not.

    What the message holds stays text: only the other formatter may colour it.
    """

    def __init__(self, *settings: object, inner: logging.Formatter | None = None, **more: object):
        super().__init__(*settings, **more)  # type: ignore[arg-type]
        self.inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a log record."""
        safe = copy(record)
        safe.msg, safe.args = shown(record.getMessage()), None
        if record.exc_info:
            safe.exc_text = shown(self.formatException(record.exc_info))
        return scrub(self.inner.format(safe) if self.inner else super().format(safe))


def guard_logs() -> None:
    """Let every handler of this process, however it was set up, log without secrets."""
    others = (one for one in logging.root.manager.loggerDict.values() if hasattr(one, "handlers"))
    for logger in (logging.root, *others):
        for handler in logger.handlers:
            if not isinstance(handler.formatter, Scrub):
                handler.setFormatter(Scrub(inner=handler.formatter))
