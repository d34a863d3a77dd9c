"""Text from strangers, as a person may see it: keys, reasons, file names, what services answer.

A terminal obeys some characters: ESC moves its cursor, writes its title, answers as if the person had typed; others turn
what follows around (bidi overrides) or are not seen at all. Where such text is *shown*, it goes through here; where it
is data (JSON, NDJSON, CSV in a file), it stays exact.
"""

import re

SENTENCE_CHARS = 4_000
_PASSWORD = re.compile(r"//[^\s\"'<>]*@")


def visible(text: str) -> str:
    r"""Return *text* in one line that a terminal shows and obeys in nothing: what is not printable is escaped.

    ESC becomes ``\x1b``, a line end ``\n``, a right-to-left override ``\u202e``. Letters and signs of all scripts stay,
    and so does a backslash: paths have them. Who has to tell ESC from the four letters asks for JSON.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def visible_lines(text: str) -> str:
    """Return *text* as ``visible`` does, but for its line ends and tabs, which are ours: never for a stranger's alone."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else _escaped(each) for each in text)


def sentence(text: str) -> str:
    """Return what an error says: a second line is set in, so that no line of a stranger's begins as one of ours.

    It is cut where it quotes a megabyte, and what stands before the ``@`` of a URL is left out: libraries quote endpoints
    with the password in them.
    """
    shown = visible_lines(text[: 2 * SENTENCE_CHARS].rstrip("\n")).replace("\n", "\n  ")
    shown = _PASSWORD.sub("//…@", shown)
    return shown if len(shown) <= SENTENCE_CHARS else shown[:SENTENCE_CHARS] + "…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
