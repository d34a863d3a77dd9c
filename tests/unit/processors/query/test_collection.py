"""The garbage collector rests while an answer is made, and no longer."""

import gc

import pytest

from processors.query.collection import no_collection


def test_it_works_again_after_an_answer_and_after_one_that_fails() -> None:
    assert gc.isenabled()
    with no_collection():
        assert not gc.isenabled()
        with no_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()  # an answer within an answer is of the outer one
    assert gc.isenabled()
    with pytest.raises(ValueError, match="refused"), no_collection():
        raise ValueError("refused")
    assert gc.isenabled()


def test_who_keeps_it_off_finds_it_off() -> None:
    gc.disable()
    try:
        with no_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
