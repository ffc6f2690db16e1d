"""Records as numpy structured arrays. Apart from records.py, so that a trace is read without numpy."""

import dataclasses

import numpy


def as_array(record: type, rows: list) -> numpy.ndarray:
    """rows, records of that dataclass, as one structured array: see `Trace.array`."""
    columns = {
        field.name: _column(str(field.type), [getattr(row, field.name) for row in rows])
        for field in dataclasses.fields(record)
    }
    table = numpy.empty(len(rows), dtype=[(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        table[name] = column
    return table


def _column(annotation: str, values: list) -> numpy.ndarray:
    if annotation.startswith("float"):
        return numpy.array([numpy.nan if value is None else value for value in values], dtype="f8")
    if annotation.startswith("int"):
        return numpy.array([-1 if value is None else value for value in values], dtype="i8")
    if annotation.startswith("tuple"):
        values = [", ".join(value) for value in values]
    texts = ["" if value is None else value for value in values]
    # numpy drops trailing NULs of fixed-width text; width 1 keeps an empty table's dtype valid.
    return numpy.array(texts, dtype=f"U{max(map(len, texts), default=1) or 1}")
