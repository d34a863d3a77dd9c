"""Functions, aggregations and operators answer as Prometheus' documentation says."""

import pytest

from support.promql import Prometheus

W = 'window="1m"'


@pytest.fixture(scope="module")
def prometheus() -> Prometheus:
    prometheus = Prometheus()
    prometheus.load(
        {
            ("a", "x"): [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
            ("b", "x"): [10, 20, 30, 40, 50, 60, 70, 80, 90, 100],
            ("c", "y"): [-2.5, None, 0.5, None, 2.5, 0, 7.25, None, None, 3.5],
        }
    )
    return prometheus


S = f"load_value_sum{{{W}}}"
A = f'load_value_sum{{{W},device_id="a"}}'
C = f'load_value_sum{{{W},device_id="c"}}'
C_LABELS = "c y 1m"


@pytest.mark.parametrize(
    ("query", "right"),
    [
        ("1 + 1", "2"),
        ("-2 ^ 2", "-4"),
        ("2 ^ 3 ^ 2", "512"),
        ("7 % -3", "1"),
        ("-7 % 3", "-1"),
        ("1 / 0", "+Inf"),
        ("-1 / 0", "-Inf"),
        ("0 / 0", "NaN"),
        ("0 % 0", "NaN"),
        ("Inf % 2", "NaN"),
        ("0 ^ -1", "+Inf"),
        ("-8 ^ 0.5", "-2.8284271247461903"),
        ("(-8) ^ 0.5", "NaN"),
        ("10 ^ 400", "+Inf"),
        ("(-10) ^ 401", "-Inf"),
        ("1 atan2 1", "0.7853981633974483"),
        ("1 > bool 2", "0"),
        ("NaN == bool NaN", "0"),
        ("NaN != bool NaN", "1"),
        ("1e21", "1e+21"),
        ("1e20", "100000000000000000000"),
        ("0.000001", "0.000001"),
        ("0.0000001", "1e-07"),
        ("time()", "300"),
        ("pi()", "3.141592653589793"),
        ('"text"', "text"),
        ("scalar(vector(3))", "3"),
        (f"scalar({S})", "NaN"),
        (f"scalar({A})", "5"),
        ("vector(1) + vector(1)", {"": "2"}),
    ],
)
def test_numbers(prometheus: Prometheus, query: str, right: object) -> None:
    assert prometheus.at(query, 5) == right


@pytest.mark.parametrize(
    ("function", "right"),
    [
        ("abs(-{})", "2.5"),
        ("ceil({})", "3"),
        ("ceil(-{})", "-2"),
        ("floor({})", "2"),
        ("floor(-{})", "-3"),
        ("floor({} / 0)", "+Inf"),
        ("round({})", "3"),
        ("round(-{})", "-2"),
        ("round({}, 2)", "2"),
        ("round({}, 0.4)", "2.4"),
        ("clamp({}, 0, 1)", "1"),
        ("clamp({}, 3, 9)", "3"),
        ("clamp({}, 0, NaN)", "NaN"),
        ("clamp_min({}, 4)", "4"),
        ("clamp_max({}, 4)", "2.5"),
        ("exp({} - 2.5)", "1"),
        ("exp({} * 1000)", "+Inf"),
        ("ln({} * 0)", "-Inf"),
        ("ln(-{})", "NaN"),
        ("log2({} + 5.5)", "3"),
        ("log10({} * 4)", "1"),
        ("sqrt({} * 10)", "5"),
        ("sqrt(-{})", "NaN"),
        ("sgn(-{})", "-1"),
        ("sgn({} * 0)", "0"),
        ("{} * 2", "5"),
        ("2 - {}", "-0.5"),
        ("-{}", "-2.5"),
        ("{} > bool 3", "0"),
        ("timestamp({} offset 1m)", None),
        ("timestamp({})", "300"),
        ("timestamp({} + 1)", "300"),
    ],
)
def test_a_function_of_numbers_drops_the_name(
    prometheus: Prometheus, function: str, right: str | None
) -> None:
    assert prometheus.at(function.format(C), 5) == ({} if right is None else {C_LABELS: right})


def test_bounds_that_exclude_each_other_leave_nothing(prometheus: Prometheus) -> None:
    assert prometheus.at(f"clamp({C}, 2, 1)", 5) == {}


@pytest.mark.parametrize(
    ("query", "right"),
    [
        (f"sum({S})", {"": "57.5"}),
        (f"sum by (metric) ({S})", {"x": "55", "y": "2.5"}),
        (f"sum without (device_id, window) ({S})", {"x": "55", "y": "2.5"}),
        (f"sum by (nothing) ({S})", {"": "57.5"}),
        (f"avg by (metric) ({S})", {"x": "27.5", "y": "2.5"}),
        (f"min({S})", {"": "2.5"}),
        (f"max({S})", {"": "50"}),
        (f"min({S} / ({S} > 10) * 0 / 0)", {"": "NaN"}),
        (f"count({S})", {"": "3"}),
        (f"group by (metric) ({S})", {"x": "1", "y": "1"}),
        (f"stddev({S})", {"": "21.826334756181325"}),
        (f"stdvar({S})", {"": "476.3888888888889"}),
        (f"quantile(0.5, {S})", {"": "5"}),
        (f"quantile(0.75, {S})", {"": "27.5"}),
        (f"quantile(2, {S})", {"": "+Inf"}),
        (f"quantile(-1, {S})", {"": "-Inf"}),
        (f"quantile(NaN, {S})", {"": "NaN"}),
        (f'count_values("n", {S} > bool 3)', {"n=0": "1", "n=1": "2"}),
        (f"sum(nobody{{{W}}})", {}),
    ],
)
def test_aggregations(prometheus: Prometheus, query: str, right: dict[str, str]) -> None:
    assert prometheus.at(query, 5) == right


@pytest.mark.parametrize(
    ("query", "right"),
    [
        (f"topk(2, {S})", ["load_value_sum b x 1m", "load_value_sum a x 1m"]),
        (f"bottomk(2, {S})", ["load_value_sum c y 1m", "load_value_sum a x 1m"]),
        (f"topk(1e9, {S})", ["load_value_sum b x 1m", "load_value_sum a x 1m", "load_value_sum c y 1m"]),
        (f"topk(0, {S})", []),
        (f"topk(-1, {S})", []),
        (f"topk(1, {S} * 0 / 0 or {S})", ["a x 1m"]),
        (f"topk by (metric) (1, {S})", ["load_value_sum b x 1m", "load_value_sum c y 1m"]),
        (f"sort({S})", ["load_value_sum c y 1m", "load_value_sum a x 1m", "load_value_sum b x 1m"]),
        (f"sort_desc({S})", ["load_value_sum b x 1m", "load_value_sum a x 1m", "load_value_sum c y 1m"]),
    ],
)
def test_what_is_ranked_comes_in_its_order(prometheus: Prometheus, query: str, right: list[str]) -> None:
    assert list(prometheus.at(query, 5)) == right


def test_over_a_range_the_top_is_that_of_each_instant(prometheus: Prometheus) -> None:
    both = f'load_value_sum{{{W},device_id=~"a|c"}}'
    assert prometheus.over(f"topk(1, {both})", 6, 8) == {
        "load_value_sum a x 1m": {6: "6", 8: "8"},
        "load_value_sum c y 1m": {7: "7.25"},
    }


@pytest.mark.parametrize(
    ("function", "right"),
    [
        ("sum_over_time({}[5m])", "0.5"),
        ("avg_over_time({}[5m])", "0.16666666666666666"),
        ("min_over_time({}[5m])", "-2.5"),
        ("max_over_time({}[5m])", "2.5"),
        ("count_over_time({}[5m])", "3"),
        ("present_over_time({}[5m])", "1"),
        ("stddev_over_time({}[5m])", "2.0548046676563256"),
        ("stdvar_over_time({}[5m])", "4.222222222222222"),
        ("quantile_over_time(0.5, {}[5m])", "0.5"),
        ("quantile_over_time(0.25, {}[5m])", "-1"),
        ("sum_over_time({}[4m])", "3"),
        ("sum_over_time({}[241s])", "0.5"),
        ("sum_over_time({}[5m] offset 1m)", "-2"),
        ("sum_over_time({}[5m] @ 420)", "10.25"),
        ("max_over_time(({} * 2)[5m:1m])", "5"),
        ("sum_over_time({}[5m:90s])", "-2"),
    ],
)
def test_functions_of_ranges(prometheus: Prometheus, function: str, right: str) -> None:
    assert prometheus.at(function.format(C), 5) == {C_LABELS: right}


def test_the_last_of_a_range_keeps_its_name(prometheus: Prometheus) -> None:
    assert prometheus.at(f"last_over_time({C}[5m])", 9) == {"load_value_sum c y 1m": "7.25"}


@pytest.mark.parametrize(
    ("query", "right"),
    [
        (f"{A} offset 2m", {"load_value_sum a x 1m": "3"}),
        (f"{A} offset -2m", {"load_value_sum a x 1m": "7"}),
        (f"{A} @ 120", {"load_value_sum a x 1m": "2"}),
        (f"{A} @ 120 offset 1m", {"load_value_sum a x 1m": "1"}),
        (f"{A} @ end()", {"load_value_sum a x 1m": "5"}),
    ],
)
def test_another_instant(prometheus: Prometheus, query: str, right: dict[str, str]) -> None:
    assert prometheus.at(query, 5) == right


def test_of_a_range_the_start_and_the_end_may_be_named(prometheus: Prometheus) -> None:
    assert prometheus.over(f"{A} @ start() + {A} @ end()", 4, 6) == {"a x 1m": {4: "10", 5: "10", 6: "10"}}


@pytest.mark.parametrize(
    ("query", "right"),
    [
        (f"{S} > 4", {"load_value_sum a x 1m": "5", "load_value_sum b x 1m": "50"}),
        (f"4 < {S}", {"load_value_sum a x 1m": "5", "load_value_sum b x 1m": "50"}),
        (f"{S} == 5", {"load_value_sum a x 1m": "5"}),
        (f"{S} > {A}", {}),
        (f"{S} >= {A}", {"load_value_sum a x 1m": "5"}),
        (f"{S} + {S}", {"a x 1m": "10", "b x 1m": "100", "c y 1m": "5"}),
        (f"{S} / load_value_count{{{W}}}", {"a x 1m": "5", "b x 1m": "50", "c y 1m": "2.5"}),
        (f"{A} + on (metric) {C}", {}),
        (f"{A} + on (window) {C}", {"1m": "7.5"}),
        (f"{A} - ignoring (device_id, metric) {C}", {"1m": "2.5"}),
        (f"{S} * on (window) group_left {C}", {"a x 1m": "12.5", "b x 1m": "125", "c y 1m": "6.25"}),
        (
            f"{C} * on (window) group_right (metric) {S}",
            {"a y 1m": "12.5", "b y 1m": "125", "c y 1m": "6.25"},
        ),
        (f"sum by (window) ({S}) / on (window) group_right {A}", {"a x 1m": "11.5"}),
        (
            f"{S} * on (window) group_left (metric) sum by (window) ({A})",
            {"a 1m": "25", "b 1m": "250", "c 1m": "12.5"},
        ),
        (f"{S} and {A}", {"load_value_sum a x 1m": "5"}),
        (f"{S} unless {A}", {"load_value_sum b x 1m": "50", "load_value_sum c y 1m": "2.5"}),
        (f"{S} and on (metric) {C}", {"load_value_sum c y 1m": "2.5"}),
        (f"{A} or {C}", {"load_value_sum a x 1m": "5", "load_value_sum c y 1m": "2.5"}),
        (f"{A} or on (window) {C}", {"load_value_sum a x 1m": "5"}),
        (f"{S} > bool {A}", {"a x 1m": "0"}),
    ],
)
def test_operators_between_series(prometheus: Prometheus, query: str, right: dict[str, str]) -> None:
    assert prometheus.at(query, 5) == right


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (
            f"{A} + on (window) {S}",
            'found duplicate series for the match group {window="1m"} on the right hand-side',
        ),
        (f"{S} + on (window) {A}", "many-to-one matching must be explicit (group_left/group_right)"),
        (f"{S} > on (window) {A} * 1000", "many-to-one matching must be explicit (group_left/group_right)"),
        (f"{S} * on (window) group_left (device_id) {A}", "grouping labels must ensure unique matches"),
        (f'label_replace({S}, "device_id", "", "device_id", ".*")', "same labelset"),
        (f'{{__name__=~"load_value_(sum|max)",{W}}} * 2', "same labelset"),
        (f"topk(NaN, {S})", "Scalar value NaN overflows int64"),
        (f"topk(1e300, {S})", "Scalar value 1e+300 overflows int64"),
        (f'count_values("not a label", {S})', "invalid label name"),
        (f'label_replace({S}, "not a label", "", "device_id", ".*")', "invalid label name"),
        (f'label_join({S}, "x", "-", "not a label")', "invalid label name"),
    ],
)
def test_what_is_not_told_apart_is_refused(prometheus: Prometheus, query: str, said: str) -> None:
    status, _, error = prometheus.refused(query, 5)
    assert status in (400, 422)
    assert said in error


@pytest.mark.parametrize(
    ("query", "right"),
    [
        (f"absent({A})", {}),
        (f'absent(load_value_sum{{{W},device_id="z",metric=~"x|y"}})', {"z 1m": "1"}),
        (f'absent(sum(load_value_sum{{{W},device_id="z"}}))', {"": "1"}),
        (f'absent(load_value_sum{{{W},device_id="z",device_id!="y",metric="x"}})', {"x 1m": "1"}),
        (f'absent(load_value_sum{{{W},device_id!="y",device_id="z",metric=""}})', {"z 1m": "1"}),
        (f"absent_over_time({C}[1m] offset 1m)", {"c 1m": "1"}),
        (f"absent_over_time({C}[2m] offset 1m)", {}),
    ],
)
def test_what_is_absent(prometheus: Prometheus, query: str, right: dict[str, str]) -> None:
    assert prometheus.at(query, 5) == right


@pytest.mark.parametrize(
    ("query", "right"),
    [
        (
            'label_replace({}, "to", "$1-${{2}}-$$", "metric", "(.)(?P<rest>.*)")',
            "load_value_sum a x 1m to=x--$",
        ),
        ('label_replace({}, "to", "$rest", "device_id", "(?P<rest>.*)")', "load_value_sum a x 1m to=a"),
        ('label_replace({}, "to", "$1", "device_id", "(b)")', "load_value_sum a x 1m"),
        ('label_replace({}, "metric", "", "metric", ".*")', "load_value_sum a 1m"),
        ('label_replace({}, "to", "$9$none", "device_id", ".*")', "load_value_sum a x 1m"),
        ('label_join({}, "to", "/", "device_id", "none", "metric")', "load_value_sum a x 1m to=a//x"),
    ],
)
def test_labels_are_made_of_others(prometheus: Prometheus, query: str, right: str) -> None:
    assert list(prometheus.at(query.format(A), 5)) == [right]


@pytest.mark.parametrize(
    "query",
    ["deriv(load_events[5m])", "predict_linear(load_events[5m], 3)", "irate(load_events[5m])", "limitk(1, load_events)",
     "delta(load_events[5m])", "changes(load_events[5m])", "info(load_events)", "hour()"],
)  # fmt: skip
def test_what_is_not_evaluated_is_named(prometheus: Prometheus, query: str) -> None:
    status, kind, error = prometheus.refused(query)
    assert (status, kind) == (422, "execution")
    assert f" {query.partition('(')[0]} is not evaluated here; there are: " in error
