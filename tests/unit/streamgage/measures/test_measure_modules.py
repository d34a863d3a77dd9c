"""What a definition makes the function load: the modules of the parts that it names, and no others."""

import subprocess
import sys

import pytest

from support.paths import ROOT

APART = (
    "distinct",
    "histogram",
    "histogram_points",
    "session_texts",
    "sessions",
    "sketch_measures",
    "sketch_parts",
    "time_weighted",
)
SKETCHES = {"distinct", "histogram", "sessions", "sketch_measures", "sketch_parts"}
CHILD = """
import sys
from streamgage.measures.layout import FieldLayout, StateLayout, plan_of
plan_of(StateLayout((FieldLayout.of("x", int(sys.argv[2]), (sys.argv[1],)),)))
print(*(name.rpartition(".")[2] for name in sys.modules if name.startswith("streamgage.measures.")))
"""


@pytest.mark.parametrize(
    ("measure", "scale", "loaded"),
    [
        ("mean", 9, set()),
        ("p95", 9, SKETCHES),
        ("p95", -2, SKETCHES),
        ("sessions", -1, SKETCHES),
        ("entry", -1, SKETCHES | {"session_texts"}),
        ("exit@1h", -1, SKETCHES | {"session_texts"}),
        ("time_weighted_mean", 9, SKETCHES | {"time_weighted"}),
    ],
)
def test_a_measure_loads_what_it_reads_and_no_more(measure: str, scale: int, loaded: set[str]) -> None:
    told = subprocess.run(
        [sys.executable, "-P", "-c", CHILD, measure, str(scale)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert set(told.stdout.split()) & set(APART) == loaded
