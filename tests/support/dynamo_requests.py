"""Random requests to DynamoDB: right ones, and wrong ones that differ from right ones in one place."""

import base64
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

Request = tuple[str, dict[str, Any]]

TABLES = {"strings": "S", "numbers": "N", "bytes": "B", "alone": None}
"""Each table, and the type of its sort key."""

NAMES = ["a", "b", "c", "n", "state", "größe"]
_TEXTS = ["", "a", "ab", "b", "é", "\U0001f30a", "\uffff", 'q"\\', "a\x00"]
_NUMBERS = [
    "0", "-0", "1", "1.0", "-1", "2", "10", "1e1", "0.5", ".5", "-0.001", "1e125", "1e-130", "007", "+3", "1.50",
    "12345678901234567890123456789012345678", "-99999999999999999999999999999999999999", "100", "1200.03",
]  # fmt: skip
_WRONG_NUMBERS = ["", "x", "1e126", "1e-131", "1" * 39, " 1", "NaN", "0x1", "1_000"]


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def scalar(numbers: list[str] = _NUMBERS) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.sampled_from(_TEXTS).map(lambda text: {"S": text}),
        st.sampled_from(numbers).map(lambda text: {"N": text}),
        st.binary(max_size=3).map(lambda raw: {"B": b64(raw)}),
        st.booleans().map(lambda flag: {"BOOL": flag}),
        st.just({"NULL": True}),
    )


SETS = st.one_of(
    st.lists(st.sampled_from(["a", "b", "é"]), min_size=1, unique=True).map(lambda each: {"SS": each}),
    st.lists(st.sampled_from(["1", "2", "10", "-1", "0.5"]), min_size=1, unique=True).map(
        lambda each: {"NS": each}
    ),
    st.lists(st.binary(max_size=2), min_size=1, unique=True).map(lambda each: {"BS": [*map(b64, each)]}),
)
# DynamoDB Local leaves numbers within lists, maps and updates as they were written; AWS does not. So these are canonical.
NESTED = st.recursive(
    scalar(["0", "1", "-1", "10", "0.5"]) | SETS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: {"L": each}),
        st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2).map(lambda each: {"M": each}),
    ),
    max_leaves=4,
)
VALUES = scalar() | SETS | NESTED
WRONG_VALUES = st.one_of(
    st.sampled_from(_WRONG_NUMBERS).map(lambda text: {"N": text}),
    st.sampled_from(
        [{}, {"S": "a", "N": "1"}, {"SS": []}, {"SS": ["a", "a"]}, {"NS": ["1", "1.0"]}, {"NULL": False}]
    ),
)

_HASHES = st.sampled_from(["h", "i", "é"]).map(lambda text: {"S": text})
_RANGES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "S": st.sampled_from(["a", "ab", "b", "é", "\U0001f30a", "\uffff"]).map(lambda text: {"S": text}),
    "N": st.sampled_from([*_NUMBERS[2:]]).map(lambda text: {"N": text}),
    "B": st.binary(min_size=1, max_size=2).map(lambda raw: {"B": b64(raw)}),
}


def keys(table: str) -> st.SearchStrategy[dict[str, Any]]:
    kind = TABLES[table]
    if kind is None:
        return st.fixed_dictionaries({"pk": _HASHES})
    return st.fixed_dictionaries({"pk": _HASHES, "sk": _RANGES[kind]})


def identity(key: dict[str, Any]) -> tuple[Any, ...]:
    """Return what tells *key* from others: DynamoDB Local takes 1 and 1.0 of one request for two keys."""
    parts = (key[name] for name in sorted(key))
    numbers = (Decimal(each["N"]) if "N" in each else each for each in parts)
    return tuple(map(str, (each.normalize() if isinstance(each, Decimal) else each for each in numbers)))


@st.composite
def wrong_keys(draw: st.DrawFn, table: str) -> dict[str, Any]:
    key = dict(draw(keys(table)))
    fault = draw(st.sampled_from(["missing", "type", "empty", "long", "other"]))
    name = draw(st.sampled_from(sorted(key)))
    if fault == "missing":
        del key[name]
    elif fault == "type":
        key[name] = {"BOOL": True}
    elif fault == "empty" and "N" not in key[name]:
        key[name] = {next(iter(key[name])): ""}
    elif fault == "long":
        key["pk"] = {"S": "x" * 2049}
    else:
        key["other"] = {"S": "x"}
    return key


def items(table: str) -> st.SearchStrategy[dict[str, Any]]:
    attributes = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4)
    return st.tuples(keys(table), attributes).map(lambda both: {**both[1], **both[0]})


class Placeholders:
    """Names and values of a request, as its expressions come to need them."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    def value(self, values: st.SearchStrategy[Any] = VALUES) -> str:
        name = f":v{len(self.values)}"
        self.values[name] = self._draw(values)
        return name

    def path(self) -> str:
        name = self._draw(st.sampled_from([*NAMES[:4], "pk", "sk"]))
        if self._draw(st.booleans()):
            placeholder = f"#{name}"
            self.names[placeholder] = name
            name = placeholder
        step = self._draw(st.sampled_from(["", "", "", "", ".x", "[0]", "[1].y", ".#d"]))
        if "#d" in step:
            self.names["#d"] = "y"
        return name + step

    def into(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.names:
            request["ExpressionAttributeNames"] = self.names
        if self.values:
            request["ExpressionAttributeValues"] = self.values
        return request


def condition(draw: st.DrawFn, holders: Placeholders, depth: int = 2) -> str:  # noqa: PLR0911 - a form each
    form = draw(st.integers(0, 12 if depth else 8))
    path = holders.path
    if form <= 2:
        symbol = draw(st.sampled_from(["=", "<>", "<", "<=", ">", ">="]))
        return f"{path()} {symbol} {holders.value()}"
    if form == 3:
        return f"{draw(st.sampled_from(['attribute_exists', 'attribute_not_exists']))}({path()})"
    if form == 4:
        return f"begins_with({path()}, {holders.value(scalar())})"
    if form == 5:
        return f"contains({path()}, {holders.value()})"
    if form == 6:
        return f"size({path()}) {draw(st.sampled_from(['=', '<', '>=']))} {holders.value(scalar())}"
    if form == 7:
        return f"{path()} BETWEEN {holders.value(scalar())} AND {holders.value(scalar())}"
    if form == 8:
        kinds = st.sampled_from(["S", "N", "M", "L", "NS", "Q"]).map(lambda kind: {"S": kind})
        return draw(st.sampled_from(["attribute_type({}, {})", "{} IN ({})"])).format(
            path(), holders.value(kinds)
        )
    inner = condition(draw, holders, depth - 1)
    if form == 9:
        return f"NOT {inner}"
    if form == 10:
        return f"({inner})"
    return f"{inner} {'AND' if form == 11 else 'OR'} {condition(draw, holders, depth - 1)}"


def spoilt(draw: st.DrawFn, text: str) -> str:
    """Return *text*, seldom with a token too many, or too few."""
    if draw(st.integers(0, 9)):
        return text
    tokens = text.split(" ")
    at = draw(st.integers(0, len(tokens) - 1))
    extra = draw(
        st.sampled_from(["=", "AND", ")", "(", ",", "x", "5", "NOT", "#nope", ":nope", "state", "!"])
    )
    return " ".join(tokens[:at] + draw(st.sampled_from([[extra], [extra, tokens[at]]])) + tokens[at + 1 :])


def update(draw: st.DrawFn, holders: Placeholders) -> str:
    """Return an update expression. Paths are of the top level: what comes back of nested ones differs from AWS's."""
    sections = []
    for section in draw(
        st.lists(st.sampled_from(["SET", "REMOVE", "ADD", "DELETE"]), min_size=1, max_size=3)
    ):
        name = draw(st.sampled_from([*NAMES[:4], "d", "e"]))
        if section == "REMOVE":
            sections.append(f"REMOVE {name}")
            continue
        if section != "SET":
            numbers = st.sampled_from(["0", "1", "-2.5", "1000000000000000000000000000000"])
            values = st.one_of(SETS, numbers.map(lambda text: {"N": text}), NESTED)
            sections.append(f"{section} {name} {holders.value(values)}")
            continue
        number = st.sampled_from(["1", "-2.5", "1e37", "0"]).map(lambda text: {"N": text})
        other = draw(st.sampled_from(NAMES[:4]))
        form = draw(st.integers(0, 5))
        lists = st.lists(scalar(["1"]), max_size=2).map(lambda each: {"L": each})
        right: str = [
            lambda: holders.value(NESTED),
            lambda: f"{other} + {holders.value(number)}",  # noqa: B023 - called within the round
            lambda: f"{other} - {holders.value(number)}",  # noqa: B023 - the same
            lambda: f"if_not_exists( {other} , {holders.value(NESTED)} )",  # noqa: B023 - the same
            lambda: f"list_append( {other} , {holders.value(lists)} )",  # noqa: B023 - the same
            lambda: other,  # noqa: B023 - the same
        ][form]()
        sections.append(f"SET {name} = {right}")
    return " ".join(sections)


def _capacity(draw: st.DrawFn, request: dict[str, Any]) -> None:
    """Ask for the units, or not: DynamoDB Local takes NONE of a DeleteItem for TOTAL."""
    if draw(st.booleans()):
        request["ReturnConsumedCapacity"] = draw(st.sampled_from(["TOTAL", "INDEXES"]))


def _seldom(draw: st.DrawFn, right: st.SearchStrategy[Any], wrong: st.SearchStrategy[Any]) -> Any:
    return draw(wrong if draw(st.integers(0, 11)) == 0 else right)


@st.composite
def puts(draw: st.DrawFn, table: str) -> Request:
    item = dict(_seldom(draw, items(table), st.one_of(wrong_keys(table), items(table))))
    if draw(st.integers(0, 11)) == 0:
        item["w"] = draw(WRONG_VALUES)
    request = {"TableName": table, "Item": item}
    return "PutItem", _conditional(draw, request, ["NONE", "ALL_OLD"])


@st.composite
def deletes(draw: st.DrawFn, table: str) -> Request:
    key = _seldom(draw, keys(table), wrong_keys(table))
    return "DeleteItem", _conditional(draw, {"TableName": table, "Key": key}, ["NONE", "ALL_OLD"])


@st.composite
def updates(draw: st.DrawFn, table: str) -> Request:
    holders = Placeholders(draw)
    key = _seldom(draw, keys(table), wrong_keys(table))
    request: dict[str, Any] = {"TableName": table, "Key": key}
    request["UpdateExpression"] = spoilt(draw, update(draw, holders))
    if draw(st.booleans()):
        request["ConditionExpression"] = condition(draw, holders, 1)
        request["ReturnValuesOnConditionCheckFailure"] = draw(st.sampled_from(["ALL_OLD", "NONE"]))
    request["ReturnValues"] = draw(
        st.sampled_from(["NONE", "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW"])
    )
    _capacity(draw, request)
    return "UpdateItem", holders.into(request)


def _conditional(draw: st.DrawFn, request: dict[str, Any], returned: list[str]) -> dict[str, Any]:
    request["ReturnValues"] = draw(st.sampled_from(returned))
    _capacity(draw, request)
    if draw(st.booleans()):
        holders = Placeholders(draw)
        request["ConditionExpression"] = spoilt(draw, condition(draw, holders))
        request["ReturnValuesOnConditionCheckFailure"] = draw(st.sampled_from(["ALL_OLD", "NONE"]))
        holders.into(request)
    return request


def _projection(draw: st.DrawFn, request: dict[str, Any], holders: Placeholders) -> None:
    if draw(st.integers(0, 2)) == 0:
        paths = [holders.path() for _ in range(draw(st.integers(1, 3)))]
        request["ProjectionExpression"] = spoilt(draw, " , ".join(paths))


@st.composite
def gets(draw: st.DrawFn, table: str) -> Request:
    holders = Placeholders(draw)
    request = {"TableName": table, "Key": _seldom(draw, keys(table), wrong_keys(table))}
    _projection(draw, request, holders)
    request["ConsistentRead"] = draw(st.booleans())
    _capacity(draw, request)
    return "GetItem", holders.into(request)


@st.composite
def queries(draw: st.DrawFn, table: str) -> Request:
    holders = Placeholders(draw)
    text = f"pk = {holders.value(_HASHES)}"
    kind = TABLES[table]
    if draw(st.booleans()):
        sort_keys = _RANGES[kind or "S"]
        symbol = draw(st.sampled_from(["=", "<", "<=", ">", ">=", "BETWEEN", "begins_with", "<>"]))
        value = holders.value(sort_keys)
        text += " AND " + (
            f"begins_with ( sk , {value} )"
            if symbol == "begins_with"
            else f"sk BETWEEN {value} AND {holders.value(sort_keys)}"
            if symbol == "BETWEEN"
            else f"sk {symbol} {value}"
        )
    request: dict[str, Any] = {"TableName": table, "KeyConditionExpression": spoilt(draw, text)}
    if draw(st.integers(0, 2)) == 0:
        request["FilterExpression"] = condition(draw, holders, 1)
    _projection(draw, request, holders)
    if draw(st.integers(0, 3)) == 0:
        request["Select"] = draw(st.sampled_from(["COUNT", "ALL_ATTRIBUTES", "SPECIFIC_ATTRIBUTES"]))
    if draw(st.booleans()):
        request["Limit"] = draw(st.integers(0, 4))
    if draw(st.booleans()):
        request["ScanIndexForward"] = draw(st.booleans())
    _capacity(draw, request)
    return "Query", holders.into(request)


@st.composite
def scans(draw: st.DrawFn, table: str) -> Request:
    holders = Placeholders(draw)
    request: dict[str, Any] = {"TableName": table, "Limit": draw(st.integers(1, 4))}
    if draw(st.booleans()):
        request["FilterExpression"] = condition(draw, holders, 1)
    return "Scan", holders.into(request)


@st.composite
def batch_gets(draw: st.DrawFn, table: str) -> Request:
    wanted = draw(st.lists(keys(table), max_size=4, unique_by=identity))
    return "BatchGetItem", {"RequestItems": {table: {"Keys": wanted, "ConsistentRead": True}}}


@st.composite
def batch_writes(draw: st.DrawFn, table: str) -> Request:
    writes = draw(
        st.lists(
            st.one_of(
                items(table).map(lambda item: {"PutRequest": {"Item": item}}),
                keys(table).map(lambda key: {"DeleteRequest": {"Key": key}}),
            ),
            max_size=4,
        )
    )
    request: dict[str, Any] = {"RequestItems": {table: writes}}
    if not any("DeleteRequest" in each for each in writes):  # of what is not there, it takes 2 units
        request["ReturnConsumedCapacity"] = "TOTAL"
    return "BatchWriteItem", request


@st.composite
def statements(draw: st.DrawFn, table: str) -> Request:
    """Up to four statements, each on an item of its own."""
    made = []
    for key in draw(st.lists(keys(table), min_size=1, max_size=4, unique_by=identity)):
        parts = list(key.values())
        value, other = draw(NESTED), draw(NESTED)
        where = " AND ".join(f'"{name}"=?' for name in key)
        if draw(st.booleans()):
            names = ",".join(f"'{name}':?" for name in [*key, "a", "b"])
            statement, parameters = f'INSERT INTO "{table}" VALUE {{{names}}}', [*parts, value, other]
        elif draw(st.booleans()):
            statement = f'UPDATE "{table}" SET "a"=? SET "b"=? WHERE {where} AND "a"=?'  # noqa: S608 - of names here
            parameters = [value, other, *parts, draw(st.sampled_from([value, other]))]
        else:
            statement = f'UPDATE "{table}" SET "a"=? , "c"=? WHERE {where}'  # noqa: S608 - of names here
            parameters = [value, other, *parts]
        if draw(st.integers(0, 15)) == 0:
            parameters.pop()
        tells = draw(st.sampled_from(["ALL_OLD", "NONE"]))
        made.append(
            {
                "Statement": statement,
                "Parameters": parameters,
                "ReturnValuesOnConditionCheckFailure": tells,
            }
        )
    return "BatchExecuteStatement", {"Statements": made}


def requests() -> st.SearchStrategy[Request]:
    """Any request to any of ``TABLES``; writes more often than the rest."""
    return st.sampled_from(sorted(TABLES)).flatmap(
        lambda table: st.one_of(
            puts(table),
            puts(table),
            batch_writes(table),
            updates(table),
            deletes(table),
            gets(table),
            queries(table),
            queries(table),
            scans(table),
            batch_gets(table),
            statements(table),
        )
    )
