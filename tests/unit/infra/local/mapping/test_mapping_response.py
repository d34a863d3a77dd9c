"""What Lambda reads in an answer: the cases that AWS documents, and those it was recorded to do."""

import pytest

from infra.local.mapping.response import done_count

BATCH = [49590338271490256608559692538361571095921575989136588898 + n for n in range(4)]


def failures(*identifiers: str) -> bytes:
    items = ", ".join(f'{{"itemIdentifier": {identifier}}}' for identifier in identifiers)
    return f'{{"batchItemFailures": [{items}]}}'.encode()


@pytest.mark.parametrize(
    "payload",
    [b"", b"null", b'""', b"[]", b"{}", b'{"batchItemFailures": []}', b'{"batchItemFailures": null}'],
)
def test_the_documented_empty_answers_are_success(payload: bytes) -> None:
    assert done_count(payload, BATCH, report_item_failures=True) == 4


def test_a_misspelt_outer_key_is_success_as_it_is_to_lambda() -> None:
    assert (
        done_count(b'{"batchitemfailures": [{"itemIdentifier": "1"}]}', BATCH, report_item_failures=True) == 4
    )


@pytest.mark.parametrize(
    "payload",
    [
        failures('""'),
        failures("null"),
        failures('"123"'),
        failures(f'"{BATCH[2]}"', '"123"'),
        failures(str(BATCH[2])),  # a number, not a string
        b'{"batchItemFailures": [{"item": "x"}]}',
        b'{"batchItemFailures": [null]}',
        b'{"batchItemFailures": "all"}',
        b"not json",
        b'"ok"',
        b"17",
    ],
)
def test_an_answer_that_names_no_record_of_the_batch_fails_all_of_it(payload: bytes) -> None:
    assert done_count(payload, BATCH, report_item_failures=True) == 0


def test_the_lowest_sequence_number_is_the_checkpoint() -> None:
    payload = failures(f'"{BATCH[3]}"', f'"{BATCH[1]}"', f'"{BATCH[2]}"')
    assert done_count(payload, BATCH, report_item_failures=True) == 1


def test_without_the_response_type_every_answer_is_success() -> None:
    assert done_count(failures(f'"{BATCH[0]}"'), BATCH, report_item_failures=False) == 4
    assert done_count(b"not json", BATCH, report_item_failures=False) == 4
