"""What a column and a table are: declared once, for the Parquet schema and for the page."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lab.store import SCHEMA_VERSION

VERSION = "schema_version"  # in a file's metadata
INT = pa.int64()
FLOAT = pa.float64()
BOOL = pa.bool_()
TEXT = pa.string()
WORD = pa.dictionary(pa.int32(), pa.string())  # few distinct values; pandas calls it category


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `value` takes it from a record; a `null` column may lack a value."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str
    value: Callable[[Any], Any] | None = None
    null: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One frame."""

    name: str
    row: str
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        """As written to Parquet; unit and meaning go with the file."""
        return pa.schema(
            [
                pa.field(c.name, c.type, nullable=c.null, metadata={"unit": c.unit, "meaning": c.meaning})
                for c in self.columns
            ],
            metadata={VERSION: str(SCHEMA_VERSION)},
        )

    @property
    def markdown(self) -> str:
        """The table of docs/frames.md."""
        head = "| column | type | unit | meaning |\n|---|---|---|---|\n"
        return head + "".join(f"| `{c.name}` | {type_word(c)} | {c.unit} | {c.meaning} |\n" for c in self.columns)


def type_word(column: Column) -> str:
    """As a reader calls it."""
    word = "category" if column.type == WORD else str(column.type)
    return f"{word} or null" if column.null else word
