"""Python, the command line and SQL answer one question alike; and SQL sees nothing that it was not given."""

# ruff: noqa: S608 - statements of tests

import json
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.query import Tables
from processors.query.answer import Answer, answer
from processors.query.arrow import to_arrow
from processors.query.asking import prepared
from processors.query.cells import DynamoPartialStore
from processors.query.freshness import Freshness
from processors.query.sql import column_name
from processors.query.tables import Place
from streamgage.errors import ConfigError
from streamgage.records import StreamRecord
from support.fakes import NOW_MS, Reads, World, invoke
from support.paths import ROOT
from support.strategies import ARRIVAL_MS, DEFINITION, click, pipeline, reading

HOSTILE_KEYS = ["[red]a[/]", "=1+1", "a|b%", "\x1b[31m", "q\"uo'te", "", "日本"]


class Counted(Reads):
    """A store that says what it cost."""

    read_units = 1.0


def world() -> World:
    found = World(pipeline(), room_bytes=200)
    sources = pipeline().sources
    datas = [
        sources["reading"].schema.encode(
            reading(f"d{n % 7}", ("temp", "hum")[n % 2], ARRIVAL_MS - n * 700_000, n / 8)
        )
        for n in range(60)
    ]
    datas += [
        sources["click"].schema.encode(click("v", HOSTILE_KEYS[n % 7], ARRIVAL_MS - n * 900_000, 10**15 + n))
        for n in range(30)
    ]
    records = [StreamRecord(f"shardId-{n % 2}", n, "p", data, ARRIVAL_MS) for n, data in enumerate(datas, 1)]
    for shard in range(2):
        assert (
            invoke(found.sandbox(), [each for each in records if each.shard_id == f"shardId-{shard}"]) is None
        )
    return found


@pytest.fixture(scope="module")
def store() -> Counted:
    return Counted(world().store)


@pytest.fixture(scope="module")
def tables(store: Counted, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    folder = tmp_path_factory.mktemp("definition")
    (folder / "pipeline.toml").write_text(DEFINITION, encoding="utf-8")
    (folder / "schemas").symlink_to(ROOT / "schemas")

    def opened() -> tuple[DynamoPartialStore, Freshness, str]:
        return cast("DynamoPartialStore", store), Freshness({"shardId-0": NOW_MS}, 0, 0), "main"

    place = SimpleNamespace(pipeline=folder / "pipeline.toml", open=opened)
    return Tables(cast("Place", place), now_ms=lambda: NOW_MS)


QUESTIONS = st.fixed_dictionaries(
    {},
    optional={
        "window": st.sampled_from(["1m", "1h", "1d", "1w", "6h"]),
        "from_ms": st.integers(ARRIVAL_MS - 40_000_000, ARRIVAL_MS - 1),
        "group_by": st.sampled_from([[], ["metric"], ["device_id"]]),
        "key": st.sampled_from([{"metric": "temp"}, {"device_id": "d?"}, {"device_id": "d1", "metric": "*"}]),
        "where": st.sampled_from(["events > 1", "value.max >= 3.5 and metric = 'temp'", "value.mean < 2"]),
        "select": st.sampled_from([{"spread": "value.max - value.min"}, {"each": "value.sum / events"}]),
        "limit": st.integers(1, 5),
    },
)


@settings(max_examples=40)
@given(asked=QUESTIONS)
def test_python_answers_what_the_command_line_does(
    store: Counted, tables: Tables, asked: dict[str, Any]
) -> None:
    if "group_by" in asked and "where" in asked and "metric" not in asked["group_by"]:
        del asked["where"]  # it names what is merged
    question, shape = prepared(pipeline(), "device_metrics", to_ms=2**42, **asked)
    right = answer(store, question, shape, applied_ms=NOW_MS, now_ms=NOW_MS)
    start = {"start": asked.pop("from_ms")} if "from_ms" in asked else {}
    told = tables.query("device_metrics", end=2**42, **start, **asked)
    assert told.answer == right
    assert len(told.rows) == len(right.rows) == len(told)
    assert told.arrow().num_rows == len(told)


@pytest.mark.parametrize("window", ["1m", "90s", "1h"])
@pytest.mark.parametrize("measure", ["value.sum", "value.max", "value.count", "events"])
def test_sql_adds_up_to_what_a_total_is(tables: Tables, window: str, measure: str) -> None:
    how = {"value.max": "max"}.get(measure, "sum")
    told = tables.sql(
        f"select device_id, {how}({column_name(measure)}) n from device_metrics "
        f"where \"window\" = '{window}' and metric = 'temp' group by all order by device_id"
    )
    right = tables.query("device_metrics", window=window, key={"metric": "temp"}, total=True)
    assert [(row["device_id"], row["n"]) for row in told.rows] == [
        (row["device_id"], row[measure]) for row in right.rows
    ]


def test_sql_sees_the_rows_that_a_query_gives(tables: Tables) -> None:
    for rollup, window in (("device_metrics", "1h"), ("page_views", "1h"), ("visits", "1d")):
        told = tables.sql(f"select * from {rollup} where \"window\" = '{window}' order by window_start, 1, 2")
        right = tables.query(rollup, window=window)
        names = [name for name in told.names if name != "window"]
        keys = len(pipeline().rollups[rollup].key)
        assert names == [*right.names[:keys], *map(column_name, right.names[keys:])]
        rows = sorted(tuple(row[name] for name in names) for row in told.rows)
        assert rows == sorted(right.answer.rows)


def test_exact_numbers_and_any_text_come_through(tables: Tables) -> None:
    total = tables.sql("select sum(bytes_sum) n from page_views where \"window\" = '1h'").rows[0]["n"]
    assert total == sum(10**15 + n for n in range(30))
    pages = {row["page"] for row in tables.sql("select distinct page from page_views").rows}
    assert pages == set(HOSTILE_KEYS)
    assert "<th>page</th>" in tables.query("page_views")._repr_html_()
    assert "<b>" not in tables.query("page_views", select={"x": "'<b>' || page"})._repr_html_()


def test_only_what_a_statement_asks_for_is_read(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    import processors.query.sql as module

    asked: list[str] = []
    plain = module.ask  # type: ignore[attr-defined]

    def noting(store: Any, question: Any, **more: Any) -> Any:
        asked.append(f"{question.rollup.name} {question.windows.label}")
        return plain(store, question, **more)

    monkeypatch.setattr(module, "ask", noting)
    for statement, read in [
        ("select 1", []),
        ("select count(*) from visits", ["visits 1d"]),
        ("select * from device_metrics where \"window\" = '1h' and events > 1", ["device_metrics 1h"]),
        ("select * from device_metrics where '90s' = \"window\"", ["device_metrics 90s"]),
        ("select * from device_metrics where \"window\" = '1h' or events > 1", ["device_metrics 1m", "device_metrics 90s", "device_metrics 1h"]),
        ("select * from device_metrics a, device_metrics b where a.\"window\" = '1h'", ["device_metrics 1m", "device_metrics 90s", "device_metrics 1h"]),
        ("with t as (select * from device_metrics where \"window\" = '1h') select * from t join visits on true", ["device_metrics 1h", "visits 1d"]),
    ]:  # fmt: skip
        asked.clear()
        tables.sql(statement)
        assert sorted(asked) == sorted(read), statement


@pytest.mark.parametrize(
    "statement",
    [
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from read_text('/etc/passwd')",
        "select * from glob('/etc/*')",
        "copy (select 1) to '/tmp/streamgage-sql-test.csv'",
        "attach '/tmp/streamgage-sql-test.db'",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "pragma database_list",
        "create table x as select 1",
        "drop table visits",
        "select 1; select 2",
        "select 1; drop table visits",
        "",
        "selekt 1",
        "select * from nothing",
        "select nothing from visits",
        "select * from visits where \"window\" = '1w'",
        "select * from read_parquet('https://example.org/x.parquet')",
        "export database '/tmp/streamgage-sql-test'",
        "call pragma_version()",
    ],
)
def test_sql_that_is_not_one_select_over_its_tables_is_refused(tables: Tables, statement: str) -> None:
    with pytest.raises(ConfigError, match="SQL: "):
        tables.sql(statement)
    assert not list(Path("/tmp").glob("streamgage-sql-test*"))  # noqa: S108 - that nothing was written


def test_a_statement_that_does_not_end_is_interrupted(tables: Tables) -> None:
    endless = "with recursive t(n) as (select 1 union all select n + 1 from t) select max(n) from t"
    with pytest.raises(ConfigError, match=r"more than 0\.3 s"):
        tables.sql(endless, timeout_s=0.3)


def test_files_are_joined_by_the_name_they_are_given(tables: Tables, tmp_path: Path) -> None:
    (tmp_path / "devices.csv").write_text("device_id,site\nd1,north\nd2,south\n", encoding="utf-8")
    told = tables.sql(
        "select site, sum(events) n from device_metrics join d using (device_id) where \"window\" = '1h' group by site order by 1",
        files={"d": tmp_path / "devices.csv"},
    )
    right = {
        row["device_id"]: row["events"]
        for row in tables.query("device_metrics", window="1h", group_by=["device_id"], total=True).rows
    }
    assert [(row["site"], row["n"]) for row in told.rows] == [("north", right["d1"]), ("south", right["d2"])]
    for name, path, problem in [
        ("visits", tmp_path / "devices.csv", "not that of a rollup"),
        ("a b", tmp_path / "devices.csv", "letters, digits"),
        ("d", tmp_path / "devices.txt", "a file is .csv"),
        ("d", tmp_path / "none.csv", "No files found"),
    ]:
        with pytest.raises(ConfigError, match=problem):
            tables.sql("select 1", files={name: path})


def test_silence_and_what_can_be_asked(tables: Tables) -> None:
    quiet = tables.silent("device_metrics", "1h", as_of=ARRIVAL_MS)
    assert [row["silent_s"] for row in quiet.rows] == sorted(
        (row["silent_s"] for row in quiet.rows), reverse=True
    )
    assert all(row["silent_s"] >= 3600 for row in quiet.rows)
    assert tables.rollups()["page_views"]["windows"] == ["1h"]
    with pytest.raises(ConfigError, match="--by says how"):
        tables.query("page_views", by="events")
    with pytest.raises(ConfigError, match="neither a time"):
        tables.query("page_views", start="yesterday")


def test_an_answer_is_data(tables: Tables) -> None:
    told = tables.query("device_metrics", window="1h", top=3, by="value.sum")
    assert told.pandas().shape == (3, len(told.names)) if _has("pandas") else True
    table = told.arrow()
    assert str(table.schema.field("window_start").type) == "timestamp[ms, tz=UTC]"
    assert [Decimal(str(each)) for each in table.column("value.sum").to_pylist()] == [
        row["value.sum"] for row in told.rows
    ]
    assert json.loads(json.dumps(told.rows, default=str))


def _has(library: str) -> bool:
    from importlib.util import find_spec

    return find_spec(library) is not None


def test_an_empty_answer_has_its_columns(tables: Tables) -> None:
    empty = tables.query("page_views", start=0, end=1)
    assert (len(empty), empty.arrow().num_rows, empty.arrow().num_columns) == (0, 0, len(empty.names))
    assert tables.sql(
        "select page, sum(events) n from page_views group by page", start=0, end=1
    ).answer == Answer(("page", "n"), [], 0)


def test_numbers_of_many_digits_stay_exact_in_arrow() -> None:
    many = Decimal("12345678901234567890123456789012.123456")
    (told,) = to_arrow(Answer(("n",), [(many,)], 0)).column("n").to_pylist()
    assert told == many
    beyond = Decimal(10) ** 40
    assert to_arrow(Answer(("n",), [(beyond,)], 0)).column("n").to_pylist() == [str(10**40)]


def test_the_notebook_runs(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tables, "local", lambda: tables)
    cells = json.loads((ROOT / "docs" / "notebooks" / "ask.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(each["source"]) for each in cells if each["cell_type"] == "code"]
    assert len(code) >= 5
    names: dict[str, Any] = {}
    for each in code:
        exec(each, names)  # noqa: S102 - our own
    assert len(names["top"]) == 3


def test_a_name_is_a_table_and_never_a_variable(tables: Tables) -> None:
    variable = to_arrow(Answer(("n",), [(1,)], 0))
    with pytest.raises(ConfigError, match="SQL: "):
        tables.sql("select * from variable")
    assert variable.num_rows == 1
