"""Secrets, the values of environment variables named like one, kept out of what a run leaves."""

import logging
import os
import re

_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSW", re.IGNORECASE)
# Shorter values, such as a 1, are settings, and would be found in any text.
_LENGTH = 8


def scrub(text: str) -> str:
    """Replace every secret in a text by ***, as it is or as Python quotes it."""
    for name, value in os.environ.items():
        if len(value) >= _LENGTH and _NAMES.search(name):
            quoted = (repr(value)[1:-1], ascii(value)[1:-1], repr(os.fsencode(value))[2:-1])
            for form in (value, *quoted):
                text = text.replace(form, "***")
    return text


class Scrub(logging.Formatter):
    """Format log records without secrets, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a log record."""
        return scrub(super().format(record))
