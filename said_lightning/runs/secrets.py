"""Keeping secrets out of what a run leaves: values of the environment that are named like one."""

import logging
import os
import re

_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSW", re.IGNORECASE)
# Shorter values, such as a 1, are settings, and would be found in any text.
_LENGTH = 8


def scrub(text: str) -> str:
    """Put *** in the place of every secret in a text, as it is or as Python quotes it."""
    for name, value in os.environ.items():
        if len(value) >= _LENGTH and _NAMES.search(name):
            quoted = (repr(value)[1:-1], ascii(value)[1:-1], repr(os.fsencode(value))[2:-1])
            for form in (value, *quoted):
                text = text.replace(form, "***")
    return text


class Scrub(logging.Formatter):
    """Formats log records without secrets, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the text of a record."""
        return scrub(super().format(record))
