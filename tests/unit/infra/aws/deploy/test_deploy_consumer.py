"""What a stack counts is fixed for its life; another definition is another stack beside it."""

import re
from dataclasses import replace
from typing import Any

import pytest

from infra.aws.deploy.consumer import Surrounding, parameters_of_consumer, readers_of
from infra.aws.deploy.ports import StackState
from infra.template.read import TEMPLATE
from processors.pipeline_files import FilesIn
from streamgage.definition.fingerprint import definition_of, definition_text
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError
from support.paths import ROOT

STREAM_ARN = "arn:aws:kinesis:eu-central-1:000000000000:stream/plant-7-Stream-1"
# What the template lets the parameter be.
(PATTERN,) = re.findall(
    r"^  Definition:\n(?:    .*\n)*?    AllowedPattern: \"(.*)\"",
    TEMPLATE.read_text(encoding="utf-8"),
    re.MULTILINE,
)
SHARED = {"SharedStreamArn": STREAM_ARN, "SharedTable": "plant-7-Aggregates-1"}
TEXT = """
[[sources]]
name = "reading"
schema = "schemas/reading.avsc"
partition_key = "device_id"
event_time = "ts"
[[rollups]]
name = "sums"
source = "reading"
key = ["device_id"]
windows = ["1m", "1h"]
[rollups.measures]
value = ["sum"]
"""
MORE = TEXT[TEXT.index("[[rollups]]") :].replace('"sums"', '"more"')


def defined(text: str = TEXT) -> Pipeline:
    return parse_pipeline(text, FilesIn(ROOT))


def changed(old: str, new: str) -> Pipeline:
    assert TEXT.count(old) == 1
    return defined(TEXT.replace(old, new))


NEXT = changed('"device_id"]', '"metric"]\ngeneration = 2\nconsumer = "v2"')


def standing(
    pipeline: Pipeline, name: str = "plant-7", consumer: str = "main", **parameters: str
) -> StackState:
    """A stack that counts *pipeline*."""
    return StackState(
        name,
        f"arn:{name}",
        "UPDATE_COMPLETE",
        parameters={
            "Consumer": consumer,
            "Definition": definition_text(definition_of(pipeline, consumer)),
            "RetentionHours": "168",
            "KeyArn": "",
            **parameters,
        },
        outputs={"StreamArn": STREAM_ARN, "TableName": "plant-7-Aggregates-1"},
    )


def ask(
    pipeline: Pipeline, around: Surrounding, *, start_at_s: int | None = None, **chosen: str
) -> dict[str, str]:
    return parameters_of_consumer(pipeline, chosen, around, start_at_s=start_at_s)


def refused(pipeline: Pipeline, around: Surrounding, **more: Any) -> str:
    with pytest.raises(ConfigError) as error:
        ask(pipeline, around, **more)
    return "\n".join(error.value.problems)


PLANT = standing(defined())
ITSELF = Surrounding("plant-7", PLANT)
BESIDE = Surrounding("plant-7-v2", None, PLANT)


def test_a_first_deployment_counts_the_only_consumer_with_stream_and_table_of_its_own() -> None:
    made = ask(NEXT, Surrounding("plant-7", None))
    definition = made.pop("Definition")
    assert made == {"Consumer": "v2", "SharedStreamArn": "", "SharedTable": "", "StartAt": "0"}
    assert definition.startswith("sums.2=")
    assert definition.endswith(":1m,1h")


def test_of_several_consumers_a_first_deployment_has_to_say_which() -> None:
    several = defined(TEXT + MORE.replace('name = "more"', 'name = "more"\nconsumer = "web"'))
    assert "several consumers: main, web" in refused(several, Surrounding("plant-7", None))
    assert ask(several, Surrounding("plant-7", None), Consumer="web")["Consumer"] == "web"


@pytest.mark.parametrize("status", ["REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE"])
def test_what_is_left_of_a_creation_that_failed_counts_nothing(status: str) -> None:
    ask(NEXT, Surrounding("plant-7", replace(PLANT, status=status)))


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.replace("[[rollups]]", "# a comment\n[[rollups]]"),
        TEXT.replace('["1m", "1h"]', '["60m", "60s"]\nkeep = "90d"'),
        TEXT.replace('event_time = "ts"', 'event_time = "ts"\nmax_lateness = "7d"\nblocks = true'),
        TEXT + MORE.replace('name = "more"', 'name = "more"\nconsumer = "web"'),
    ],
    ids=["nothing", "a comment", "order and keep", "what is refused", "another consumer"],
)
def test_code_and_what_does_not_change_what_is_counted_go_as_ever(text: str) -> None:
    made = ask(defined(text), ITSELF)["Definition"]
    assert re.fullmatch(PATTERN, made)
    assert made.split("=")[1].split("@")[0] == PLANT.parameters["Definition"].split("=")[1].split("@")[0]


def test_a_longer_keep_is_a_new_generation() -> None:
    shorter = defined(TEXT.replace('["1m", "1h"]', '["1m", "1h"]\nkeep = "90d"'))
    parameters = {**PLANT.parameters, "Definition": definition_text(definition_of(shorter, "main"))}
    kept = Surrounding(ITSELF.stack, replace(PLANT, parameters=parameters))
    assert "@7776000000:" in ask(shorter, kept)["Definition"]
    with pytest.raises(ConfigError, match=r"sums\.1\|1h would be kept longer"):
        ask(defined(TEXT), kept)


@pytest.mark.parametrize(
    ("pipeline", "told"),
    [
        (defined(TEXT + MORE), "more.1|1m would be added"),
        (changed('["1m", "1h"]', '["1m", "1h", "1d"]'), "sums.1|1d would be added"),
        (changed('["1m", "1h"]', '["1m"]'), "sums.1|1h would be removed"),
        (changed('"device_id"]', '"metric"]'), "sums.1|1m would count something else"),
        (changed('value = ["sum"]', 'value = ["sum", "max"]'), "sums.1|1h would count something else"),
        (changed('["1m", "1h"]', '["1m", "1h"]\ngeneration = 2'), "sums.2|1m would be added"),
        (NEXT, "sums.1|1m would be removed"),  # nothing is left of this consumer
    ],
    ids=["a rollup", "a window", "a window less", "the key", "a measure", "a generation", "the consumer"],
)
def test_a_definition_that_counts_something_else_is_refused_with_the_mend(
    pipeline: Pipeline, told: str
) -> None:
    said = refused(pipeline, ITSELF)
    assert told in said
    assert "streamgage deploy --stack plant-7-v2 --beside plant-7" in said
    assert "next generation" in said


def test_a_stack_that_does_not_say_what_it_counts_is_refused() -> None:
    for recorded in ("none", ""):
        silent = replace(PLANT, parameters={**PLANT.parameters, "Definition": recorded})
        assert "does not say what it counts" in refused(defined(), Surrounding("plant-7", silent))
    broken = replace(PLANT, parameters={**PLANT.parameters, "Definition": "sums.1"})
    assert "'sums.1' is not rollup.generation=" in refused(defined(), Surrounding("plant-7", broken))


def test_a_stack_beside_another_takes_its_stream_table_and_what_the_stream_has() -> None:
    made = ask(NEXT, BESIDE)
    assert made["Definition"].startswith("sums.2=")
    assert {key: value for key, value in made.items() if key != "Definition"} == {
        **SHARED, "Consumer": "v2", "StartAt": "0", "RetentionHours": "168", "KeyArn": "",
    }  # fmt: skip
    assert ask(NEXT, BESIDE, start_at_s=1_764_370_800)["StartAt"] == "1764370800"


def test_a_consumer_or_a_generation_that_is_counted_beside_already_is_refused() -> None:
    same_name = changed('"device_id"]', '"metric"]\ngeneration = 2')
    assert "consumer main is stack plant-7 on the same table already" in refused(same_name, BESIDE)
    same_generation = changed('"device_id"]', '"metric"]\nconsumer = "v2"')
    assert "sums.1 is counted by stack plant-7 on the same table already: set the next generation" in refused(
        same_generation, BESIDE
    )


def test_so_is_one_of_a_third_stack_on_the_same_table() -> None:
    third = standing(NEXT, "plant-7-web", "v2", **SHARED)
    said = refused(NEXT, replace(BESIDE, others=[PLANT, third]))
    assert "consumer v2 is stack plant-7-web" in said
    assert "sums.2 is counted by stack plant-7-web" in said
    elsewhere = replace(third, outputs={"TableName": "another"})
    ask(NEXT, replace(BESIDE, others=[PLANT, elsewhere]))


def test_a_stack_beside_another_stays_there_whether_it_is_said_again_or_not() -> None:
    itself = standing(NEXT, "plant-7-v2", "v2", StartAt="7", **SHARED)
    for beside in (None, PLANT):
        around = Surrounding("plant-7-v2", itself, beside, [PLANT, itself])
        made = ask(NEXT, around)
        assert {key: made[key] for key in (*SHARED, "StartAt", "RetentionHours")} == {
            **SHARED, "StartAt": "7", "RetentionHours": "168",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("around", "more", "told"),
    [
        (ITSELF, {"Consumer": "web"}, "Consumer of stack plant-7 is main, for its life"),
        (ITSELF, {"start_at_s": 7}, "StartAt of stack plant-7 is 0"),
        (
            replace(ITSELF, beside=standing(NEXT, "plant-8", "v2")),
            {},
            "SharedTable of stack plant-7 is its own",
        ),
        (BESIDE, {"SharedTable": "t"}, "--beside plant-7 says what SharedTable is"),
        (
            Surrounding("plant-7-v2", None, replace(PLANT, outputs={})),
            {},
            "has no output StreamArn and TableName",
        ),
    ],
)
def test_what_is_fixed_is_refused_and_not_overridden(around: Surrounding, more: Any, told: str) -> None:
    assert told in refused(NEXT if around.standing is None else defined(), around, **more)


def test_what_does_not_fit_into_the_record_of_a_stack_is_refused_before_aws_does() -> None:
    many = "".join(MORE.replace('"more"', f'"more_{n}"') for n in range(150))
    assert "more than its stack can record" in refused(defined(TEXT + many), Surrounding("plant-7", None))


def test_data_is_in_use_where_another_stack_names_its_stream_or_table() -> None:
    beside = standing(NEXT, "plant-7-v2", "v2", **SHARED)
    own_table = standing(NEXT, "plant-7-x", "v2", SharedStreamArn=STREAM_ARN)
    assert readers_of(["plant-7-Aggregates-1"], [PLANT, beside, own_table]) == ["plant-7-v2"]
    assert readers_of(["plant-7-Stream-1"], [PLANT, beside, own_table]) == ["plant-7-v2", "plant-7-x"]
    assert readers_of(["plant-7-Stream", "https://queue"], [PLANT, beside]) == []
