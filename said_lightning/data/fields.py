"""Types of config values: their ranges and choices, checked by `violations`.

OmegaConf takes Annotated types in a structured config and refuses Literal, so that choices are
checks at the fields too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function

from said_lightning.errors import suggestion

# More than 63 bits is no count, and no length of anything.
Count = Annotated[int, Field(ge=1, lt=2**63)]
Natural = Annotated[int, Field(ge=0, lt=2**63)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

# How pydantic's kinds of errors read in a message.
_RANGES = {
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected at least {ge}",
    "less_than": "expected less than {lt}",
    "less_than_equal": "expected at most {le}",
    "finite_number": "expected a finite number",
}
_TYPES = {
    "int": "expected an integer",
    "float": "expected a number",
    "bool": "expected true or false",
    "list": "expected a list such as [1,3]",
    "string": "expected text",
    "too": "expected at least one value",
}


class Described:
    """A part of the config, in which the text below a field is the one place of its meaning."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)


@dataclass(frozen=True)
class OneOf:
    """The check that a value is one of the choices, which the type's JSON schema lists."""

    choices: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {"enum": list(self.choices)}

    def check(self, value: str) -> str:
        """Return a value that is one of the choices."""
        if value not in self.choices:
            near = suggestion(value, self.choices)
            raise PydanticCustomError("unknown", "unknown value{near}", {"near": near})
        return value


def one_of(*choices: str) -> OneOf:
    """Return the check that a value is one of the choices."""
    return OneOf(choices)


def _all_differ(values: list[float]) -> list[float]:
    if len(set(values)) < len(values):
        raise PydanticCustomError("repeated", "expected different values")
    return values


different = AfterValidator(_all_differ)


def violations(config: Any, prefix: str = "") -> list[str]:
    """Return each value of a config that is out of its field's range: `key=value: expected ...`.

    `config` is a dataclass whose fields may be dataclasses; `prefix` comes before each key.
    """
    return violations_of(type(config), asdict(config), prefix)


def violations_of(schema: type, plain: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the same of plain values, which may be of other types than the schema's."""
    try:
        _adapter(schema).validate_python(dict(plain))
    except ValidationError as error:
        return [_message(schema, one, prefix) for one in error.errors(include_url=False)]
    return []


@cache
def _adapter(schema: type) -> Any:  # beartype does not take a TypeAdapter
    return TypeAdapter(schema)


def _message(schema: type, error: ErrorDetails, prefix: str) -> str:
    place, kind = error["loc"], error["type"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)[1:]
    expected = _TYPES.get(kind.partition("_")[0]) or error["msg"]
    if kind in _RANGES:
        limits = {name: f"{limit:g}" for name, limit in error.get("ctx", {}).items()}
        expected = _RANGES[kind].format(**limits)
        expected += ", or null" if _may_be_null(schema, place) else ""
    return f"{prefix}{key}={error['input']}: {expected}"


def _may_be_null(schema: Any, place: Sequence[int | str]) -> bool:
    """Return whether the field at a place is None by default."""
    default: Any = schema
    for part in place:
        if not isinstance(part, str) or not hasattr(default, "__dataclass_fields__"):
            return False
        found = next(one for one in fields(default) if one.name == part)
        default = found.default_factory if callable(found.default_factory) else found.default
    return default is None
