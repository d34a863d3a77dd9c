"""Pages that come again are not parsed again; the memory of them is bounded, and answers nothing by itself."""

from dataclasses import dataclass, field

from processors.query.pages import Page, PageMemory
from streamgage.fold.items import StoredItem


@dataclass
class Parser:
    """Makes a page of one item of an answer, and counts."""

    parsed: list[bytes] = field(default_factory=list)

    def __call__(self, answer: bytes) -> Page:
        self.parsed.append(answer)
        return Page([("sk", StoredItem(1, "c", answer, 5))], 0.5, None)


def test_an_answer_that_is_the_same_to_the_byte_is_parsed_once() -> None:
    memory, parse = PageMemory(100_000), Parser()
    first = memory.parsed("a", b"x" * 100, parse)
    assert memory.parsed("a", b"x" * 100, parse) is first
    assert parse.parsed == [b"x" * 100]


def test_another_answer_to_the_same_request_is_parsed_and_remembered_instead() -> None:
    memory, parse = PageMemory(100_000), Parser()
    for answer in (b"old", b"new", b"new", b"old"):
        assert memory.parsed("a", answer, parse).items[0][1].body == answer
    assert parse.parsed == [b"old", b"new", b"old"]


def test_the_same_answer_to_another_request_is_another_page() -> None:
    memory, parse = PageMemory(100_000), Parser()
    assert memory.parsed("a", b"x", parse) is not memory.parsed("b", b"x", parse)


def test_what_nobody_asked_for_the_longest_makes_room() -> None:
    memory, parse = PageMemory(5_000), Parser()  # four pages of 1,200 bytes each
    answers = {name: name.encode() * 400 for name in "abcde"}
    for name in "abcdaeab":
        memory.parsed(name, answers[name], parse)
    assert [each[:1] for each in parse.parsed] == [b"a", b"b", b"c", b"d", b"e", b"b"]


def test_a_page_that_would_be_alone_is_not_remembered_and_nothing_is_where_there_is_no_room() -> None:
    for most_bytes in (0, 5_000):
        memory, parse = PageMemory(most_bytes), Parser()
        for _ in range(2):
            memory.parsed("a", b"x" * 2_000, parse)
        assert len(parse.parsed) == 2
