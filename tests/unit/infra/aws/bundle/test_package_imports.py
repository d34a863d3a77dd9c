"""What a function imports is read from its source: in a cold start, and later."""

import ast
import sys
from pathlib import Path

import pytest

import processors
import streamgage
from infra.aws.bundle.files import our_imports
from infra.aws.bundle.functions import AGGREGATE
from infra.aws.bundle.imports import Imports, imports_of, module_path

ROOTS = [Path(str(each.__file__)).parent for each in (processors, streamgage)]
FILES = {
    "app/__init__.py": "",
    "app/main.py": (
        "import json\nfrom app import first, CONSTANT\nimport app.deep.second as s\n"
        "if json:\n    from app.third import x\n"
        "class C:\n    import app.fourth\n    def f(self):\n        from app import later\n"
        "def g():\n    import app.deep.latest\n"
        "try:\n    import app.fifth\nexcept ImportError:\n    import app.absent\n"
        "else:\n    import app.sixth\nfinally:\n    import app.seventh\n"
        "match json:\n    case _:\n        import app.eighth\nwith open(0):\n    import app.ninth\n"
    ),
    "app/first.py": "def f():\n    import app.later\n",
    "app/third.py": "x = 1",
    "app/fourth.py": "import other.thing",
    "app/fifth.py": "import app.main",
    "app/sixth.py": "",
    "app/seventh.py": "",
    "app/eighth.py": "",
    "app/ninth.py": "try:\n    pass\nexcept ImportError:\n    import app.tenth\n",
    "app/tenth.py": "",
    "app/later.py": "import app.of_later",
    "app/of_later.py": "",
    "app/nobody.py": "",
    "app/deep/__init__.py": "import app.of_deep",
    "app/of_deep.py": "",
    "app/deep/second.py": "",
    "app/deep/latest.py": "",
    "other/thing.py": "",
}


@pytest.fixture
def app(tmp_path: Path) -> dict[str, Path]:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return {"app": tmp_path / "app"}


def test_what_runs_when_the_entry_is_imported_is_told_from_what_its_functions_import(
    app: dict[str, Path],
) -> None:
    names = (
        "app app.deep app.deep.second app.eighth app.fifth app.first app.fourth app.main app.ninth app.of_deep app.seventh"
        " app.sixth app.tenth app.third"
    )
    assert imports_of("app.main", app) == Imports(
        at_init=tuple(names.split()), later=("app.deep.latest", "app.later", "app.of_later")
    )


def test_an_entry_that_is_not_there_is_refused(app: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"app\.absent is not a module of app"):
        imports_of("app.absent", app)


def test_a_module_has_a_file_and_a_stranger_has_none(app: dict[str, Path]) -> None:
    assert module_path("app.deep", app).name == "__init__.py"
    for stranger in ("app.absent", "other.thing"):
        with pytest.raises(KeyError):
            module_path(stranger, app)


def test_our_packages_import_by_import_statements_only() -> None:
    """Else a bundle would lack a module that nobody saw."""
    calls = {
        f"{path.name}:{node.lineno}"
        for root in ROOTS
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if (isinstance(node, ast.Name) and node.id in ("__import__", "import_module"))
        or (isinstance(node, ast.Attribute) and node.attr == "import_module")
        or (isinstance(node, ast.ImportFrom) and node.level)
    }
    assert calls == set()


def test_the_function_does_without_what_only_queries_and_producers_import() -> None:
    imports = our_imports()
    assert AGGREGATE.entry in imports.at_init
    assert {"processors.query.question", "processors.query.render", "streamgage.shards"}.isdisjoint(
        imports.modules
    )
    formats = {f"streamgage.formats.{each}" for each in ("avro_codec", "json_event", "iso_time")}
    parts = (
        "cloudevents",
        "decoder",
        "inflate",
        "influx",
        "items",
        "json_documents",
        "mapping",
        "otlp_json",
        "otlp_points",
        "otlp_proto",
        "protobuf",
    )
    agents = {f"streamgage.formats.agents.{each}" for each in parts} | {
        "streamgage.formats.agents",
        "streamgage.definition.agents_toml",
        "streamgage.reading.agent_records",
    }
    quarantine = {f"processors.quarantine.{each}" for each in ("bulk", "message", "objects")}
    files = ("computing", "expression", "functions", "kinds", "lexer", "parser")
    expressions = {"streamgage.expressions", *(f"streamgage.expressions.{each}" for each in files)}
    sketches = {
        f"streamgage.measures.{each}"
        for each in (
            "distinct",
            "histogram",
            "histogram_points",
            "session_texts",
            "sessions",
            "sketch_measures",
            "sketch_parts",
            "time_weighted",
        )
    }
    assert set(imports.later) == formats | agents | quarantine | expressions | sketches | {
        "streamgage.definition.derived",
        "streamgage.definition.histogram_fields",
    }
    assert not {each.partition(".")[0] for each in imports.modules} - {"processors", "streamgage"}
    assert "processors" not in sys.stdlib_module_names
