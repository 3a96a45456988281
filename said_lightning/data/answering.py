"""What a prompt asks, checked, and whether a text that was generated is the answer."""

import re
from collections.abc import Callable
from decimal import Decimal
from pkgutil import resolve_name
from string import Formatter

from said_lightning.data.task import TaskConfig
from said_lightning.errors import UserError

Match = Callable[[str, str], bool]
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def exact(generated: str, target: str) -> bool:
    """Return whether both are the same, but for space around them."""
    return generated.strip() == target.strip()


def number(generated: str, target: str) -> bool:
    """Return whether the last numbers of both are equal, as GSM8K's answers end with one."""
    found, right = (_last(text) for text in (generated, target))
    return found is not None and found == right


def _last(text: str) -> Decimal | None:
    numbers = NUMBER.findall(text)
    return Decimal(numbers[-1].replace(",", "")) if numbers else None


MATCHES: dict[str, Match] = {"exact": exact, "number": number}


def match_of(name: str) -> Match:
    """Return a function by its name here, or one's own as `module:function`.

    It takes what was generated and the target. Raise UserError where there is none.
    """
    if name in MATCHES:
        return MATCHES[name]
    try:
        found = resolve_name(name) if ":" in name else None
    except Exception as error:  # of any kind: the module is anybody's
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"task.match={name}: cannot be imported: {reason:.200}") from None
    if not callable(found):
        names = ", ".join(MATCHES)
        raise UserError(f"task.match={name}: expected {names}, or module:function of one's own")
    own: Match = found
    return own


def validate_prompt(task: TaskConfig) -> list[str]:
    """Return what is wrong with a prompt's template, answers and match."""
    if not task.prompted:
        return []
    found = _template(task)
    if task.kind == "generate":
        try:
            match_of(task.match)
        except UserError as error:
            found += error.messages
    elif task.answers and len(task.answers) != len(task.labels):
        found.append(
            f"task.answers: {len(task.answers)} for {len(task.labels)} labels; expected one each, "
            "or none for a space and the label's name"
        )
    return found


def _template(task: TaskConfig) -> list[str]:
    try:
        parsed = Formatter().parse(task.template or "")
        fields = {field for _, field, _, _ in parsed if field is not None}
    except ValueError as error:
        return [f"task.template: {error}; {{{{ and }}}} stand for braces"]
    sources = [one for one in (task.files, task.hub) if one]
    texts = max((len(one.text) for one in sources), default=1)
    expected = [str(place) for place in range(texts)]
    if sorted(fields) == expected:
        return []
    names = " and ".join(f"{{{one}}}" for one in expected)
    shown = f"{task.template!r:.60}"
    return [f"task.template={shown}: expected {names}, where the texts of a row go"]
