"""Rows of Arrow tables: parquet files, and data sets of the hub."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from said_lightning.data.formats.lines import Read, Table
from said_lightning.errors import needs

# Rows taken out of a table at once.
CHUNK = 1000


def parquet(path: Path, columns: Sequence[str]) -> Table:
    """Open a parquet file, of which the columns are read that are there.

    Raise OSError, here or with a row, where the file is none.
    """
    files = needs("pyarrow.parquet", "hub", f"{path}: a file that ends in .parquet")
    arrow = needs("pyarrow", "hub", "parquet")
    torn = (arrow.ArrowException, KeyError, OverflowError, ValueError)

    def read() -> Iterator[Read]:
        try:
            batches = file.iter_batches(CHUNK, columns=there)
            yield from rows((batch.to_pydict() for batch in batches), str(path), classes)
        except torn as error:
            raise OSError(f"it is no whole parquet file: {error}") from error

    try:
        file = files.ParquetFile(path)
        schema = file.schema_arrow
    except torn as error:
        raise OSError(f"it is no parquet file: {error}") from error
    there = [column for column in columns if schema.names.count(column) == 1]
    classes = _class_names(schema, there)
    return Table(f"{path}, header", schema.names, validate_types(schema, there), read())


def _class_names(schema: Any, columns: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of the classes whose ids a column holds, as `datasets` writes them."""
    if b"huggingface" not in (schema.metadata or {}):
        return {}
    arrow = needs("pyarrow", "hub", "parquet")
    own = arrow.schema([schema.field(column) for column in columns], schema.metadata)
    try:
        features = needs("datasets", "hub", "parquet").Features.from_arrow_schema(own)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OSError(f"the installed `datasets` cannot read its features: {error}") from error
    return {one: features[one].names for one in columns if hasattr(features[one], "names")}


def validate_types(schema: Any, columns: Sequence[str]) -> str | None:
    """Return what is wrong where a column holds lists, bytes or the like, which are no text."""
    types = needs("pyarrow", "hub", "parquet").types
    for column in columns:
        kind = schema.field(column).type
        inner = kind.value_type if types.is_dictionary(kind) else kind
        if types.is_nested(inner) or "binary" in str(inner):
            return f"column {column!r} holds {kind}, expected text or a number"
    return None


def rows(
    chunks: Iterable[Mapping[str, list[Any]]], place: str, classes: Mapping[str, list[str]]
) -> Iterator[Read]:
    """Yield rows as written text: nothing for null or NaN, the name for a class id."""
    number = 0
    for chunk in chunks:
        texts = [written(values, classes.get(column)) for column, values in chunk.items()]
        for row in zip(*texts, strict=True):
            yield f"{place}, row {number}", dict(zip(chunk, row, strict=True))
            number += 1


def written(values: Sequence[Any], names: list[str] | None = None) -> list[str]:
    """Write values out; class ids by name, for they need not be in the task's order."""
    if names is not None:
        # -1 stands for no label, as in test sets.
        ids: dict[Any, str | None] = {None: None, -1: None, **dict(enumerate(names))}
        values = [ids.get(value, f"class id {value}") for value in values]
    return ["" if value is None or value != value else str(value) for value in values]
