"""Turn the text of a cell into what a field of an Avro schema takes, exactly or not at all.

JSON has rules of its own: streamgage/formats/json_event.py.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Convert = Callable[[object], object]

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}(\.0{0,20})?")  # 94.0 is exactly 94
_MARKS = {
    "na",
    "n/a",
    "nan",
    "null",
    "none",
    "nil",
    "-",
    "--",
    "?",
    "missing",
    "#n/a",
    "\\n",
}  # what others write for nothing
_COMMA_NUMBER = re.compile(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]{1,4})?")
_TRUE, _FALSE = {"true", "1", "yes"}, {"false", "0", "no"}


def converter(avro_type: Any, *, decimal_comma: bool = False) -> Convert:
    """Return the function that turns a value into one of *avro_type*; it raises ValueError.

    An empty text is null where the type has null. Numbers keep their value: an integer must be one, and a float is
    what Python reads from the text. Of a union the first branch that takes the value wins. With a *decimal_comma* a
    point in a number is refused: it might part thousands.
    """
    if isinstance(avro_type, list):
        branches = [converter(each, decimal_comma=decimal_comma) for each in avro_type if each != "null"]
        return _union(branches, nullable="null" in avro_type)
    kind = avro_type["type"] if isinstance(avro_type, dict) else avro_type
    if kind == "map":
        values = converter(avro_type["values"], decimal_comma=decimal_comma)
        return lambda value: {key: values(each) for key, each in _mapping(value).items()}
    simple = _SIMPLE.get(kind, _from_json)
    if decimal_comma and simple in (_to_integer, _to_float):
        return lambda value: simple(_with_point(value))
    return simple


def map_values(avro_type: Any) -> Any | None:
    """Return the type of the values of the map that *avro_type* is or may be, None where it is no map."""
    for each in avro_type if isinstance(avro_type, list) else [avro_type]:
        if isinstance(each, dict) and each.get("type") == "map":
            return each["values"]
    return None


def _union(converters: list[Convert], *, nullable: bool) -> Convert:
    def convert(value: object) -> object:
        if nullable and (value is None or value == ""):
            return None
        problem = ValueError("is null")
        for each in converters:
            try:
                return each(value)
            except ValueError as error:
                problem = error
        raise problem

    return convert


def _with_point(value: object) -> object:
    if not isinstance(value, str):
        return value
    if "." in value:
        raise ValueError(f"{_shown(value)} has a point; with --decimal , the decimals stand behind a comma")
    return value.replace(",", ".", 1)


def _to_string(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{_shown(value)} is not a text")


def _to_integer(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(text := value.strip()):
        return int(text.partition(".")[0])
    raise ValueError(f"{_shown(value)} is not a whole number{_cure(value)}")


def _to_float(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise ValueError(f"{_shown(value)} is larger than a double holds") from error
    if isinstance(value, str) and "_" not in value:  # Python's own 1_000 is no number of a file
        try:
            return float(value)
        except ValueError:
            pass
    raise ValueError(f"{_shown(value)} is not a number{_cure(value)}")


def _to_boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, str | int) else ""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(f"{_shown(value)} is neither true nor false")


def _to_bytes(value: object) -> bytes:
    return _to_string(value).encode()


def _mapping(value: object) -> Mapping[str, object]:
    value = _from_json(value)
    if isinstance(value, Mapping):
        return value
    raise ValueError(f"{_shown(value)} is not a JSON object")


def _from_json(value: object) -> object:
    """Return *value*, or what the JSON in it says where it is text; the schema judges the rest."""
    if not isinstance(value, str):
        return value
    try:
        parsed: object = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{_shown(value)} is not JSON") from error
    return parsed


def _cure(value: object) -> str:
    """Return what may be done about a text that is no number."""
    text = value.strip() if isinstance(value, str) else ""
    if _COMMA_NUMBER.fullmatch(text):
        return "; where a comma parts the decimals: --decimal ,"
    if text.lower() in _MARKS:
        return f"; where it marks a missing value: --na {text}"
    return ""


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except RecursionError:
        return "what is nested so deep"
    return text if len(text) <= 80 else text[:77] + "…"


_SIMPLE: dict[str, Convert] = {
    "string": _to_string,
    "enum": _to_string,
    "int": _to_integer,
    "long": _to_integer,
    "float": _to_float,
    "double": _to_float,
    "boolean": _to_boolean,
    "bytes": _to_bytes,
}
