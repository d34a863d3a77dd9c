"""Draw the two pictures of docs/architecture.md: ``python docs/architecture/draw.py``.

Text stands in boxes of its own colour, lines are mid-grey: both are legible on light and on dark pages.
"""

from collections.abc import Iterable
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
CORE, SEND, RUN, HOUSE, AWS, ASIDE = "#dbeafe", "#dcfce7", "#fef3c7", "#ede9fe", "#ffe4e6", "#e5e7eb"
GREY = "#7d8590"
_STYLE = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif"


def box(place: tuple[int, int, int, int], fill: str, title: str, *lines: str) -> str:
    """Return a box at *place* (x, y, width, height) with a *title* and *lines* under it."""
    x, y, w, h = place
    texts = [
        f'<text x="{x + 8}" y="{y + 21}" font-size="14" font-weight="600" fill="#111827">{escape(title)}</text>'
    ]
    texts += [
        f'<text x="{x + 8}" y="{y + 41 + 17 * n}" font-size="12" fill="#1f2937">{escape(line)}</text>'
        for n, line in enumerate(lines)
    ]
    return f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="6" fill="{fill}" stroke="{GREY}"/>' + "".join(
        texts
    )


def arrow(*points: tuple[int, int], label: str = "", at: tuple[int, int] = (0, 0)) -> str:
    """Return an arrow along *points*, and its *label* at a place."""
    path = " ".join(f"{x},{y}" for x, y in points)
    drawn = (
        f'<polyline points="{path}" fill="none" stroke="{GREY}" stroke-width="1.8" marker-end="url(#tip)"/>'
    )
    if label:
        drawn += f'<text x="{at[0]}" y="{at[1]}" font-size="12.5" fill="{GREY}">{escape(label)}</text>'
    return drawn


def write(name: str, size: tuple[int, int], title: str, parts: Iterable[str]) -> None:
    """Write the picture *name*."""
    tip = (
        '<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0,0 L10,5 L0,10 z" fill="{GREY}"/></marker>'
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" role="img" style="{_STYLE}">'
    body = "\n".join([head, f"<title>{escape(title)}</title><defs>{tip}</defs>", *parts, "</svg>"])
    (HERE / f"{name}.svg").write_text(body + "\n", encoding="utf-8")


ROOMS = [
    box((20, 20, 860, 50), ASIDE, "benchmarks/", "one file a question, beside its peers"),
    box((20, 100, 860, 150), HOUSE, "infra/"),
    box(
        (35, 132, 155, 105),
        "#ffffff",
        "commands/",
        "one file a verb:",
        "streamgage up, send,",
        "query, deploy …",
    ),
    box((200, 132, 155, 105), "#ffffff", "load/", "sent by processes,", "every total", "compared"),
    box(
        (365, 132, 155, 105),
        "#ffffff",
        "template/",
        "the one SAM template,",
        "its lint, alarms,",
        "dashboard",
    ),
    box((530, 132, 155, 105), "#ffffff", "aws/", "bundle, deploy, cost;", "knows nothing of local"),
    box(
        (695, 132, 172, 105),
        "#ffffff",
        "local/",
        "Kinesis, tables, mapping,",
        "sandboxes: the template",
        "on a laptop",
    ),
    box((20, 290, 345, 240), SEND, "producers/"),
    box((31, 322, 70, 90), "#ffffff", "client/", "batch,", "try again"),
    box((108, 322, 70, 90), "#ffffff", "spool/", "kept on", "the disk"),
    box((185, 322, 70, 90), "#ffffff", "files/", "CSV, logs,", "NDJSON"),
    box((262, 322, 92, 90), "#ffffff", "simulators/", "fleet,", "visitors"),
    box(
        (31, 427, 104, 90),
        "#ffffff",
        "load/",
        "when each event",
        "is due, stored",
    ),
    box((140, 427, 104, 90), "#ffffff", "sending/", "Producer, what", "programs use"),
    box((249, 427, 105, 90), "#ffffff", "mqtt/", "a bridge from", "a broker"),
    box((385, 290, 495, 240), RUN, "processors/"),
    box((395, 322, 101, 90), "#ffffff", "aggregate/", "the Lambda", "function"),
    box((501, 322, 72, 90), "#ffffff", "sink/", "fenced", "writes"),
    box((578, 322, 112, 90), "#ffffff", "quarantine/", "poison, with", "its reason"),
    box((695, 322, 83, 90), "#ffffff", "query/", "questions,", "answers"),
    box((783, 322, 87, 90), "#ffffff", "awsjson/", "the lean", "client"),
    box(
        (395, 427, 235, 90), "#ffffff", "live/", "HTTP: who asks what, who may", "see it, and how it is sent"
    ),
    box((640, 427, 230, 90), "#ffffff", "promql/", "the same questions,", "for Grafana"),
    box((20, 570, 860, 155), CORE, "streamgage/", "the pure core: no I/O, no clock, no dice"),
    box((33, 620, 130, 92), "#ffffff", "definition/", "pipeline.toml", "as values"),
    box((172, 620, 130, 92), "#ffffff", "formats/", "KPL, Avro, JSON,", "blocks, marks"),
    box((311, 620, 130, 92), "#ffffff", "expressions/", "filters, derived", "fields"),
    box((450, 620, 130, 92), "#ffffff", "measures/", "exact numbers,", "sketches, windows"),
    box((589, 620, 130, 92), "#ffffff", "reading/", "bytes to columns,", "or poison"),
    box((728, 620, 140, 92), "#ffffff", "fold/", "columns to states", "by key, window"),
    arrow((450, 70), (450, 98)),
    arrow((192, 250), (192, 288)),
    arrow((632, 250), (632, 288), label="imports point down", at=(350, 275)),
    arrow((192, 530), (192, 568)),
    arrow((632, 530), (632, 568)),
]

WAY = [
    box((20, 20, 270, 112), SEND, "1  put(event)", "producers/client", "checked and encoded; gathered into", "blocks, then records of one shard;", "marked, so a repeat is known"),
    box((355, 20, 240, 112), AWS, "2  Kinesis", "shards, by partition key", "keeps order and 24 hours;", "may hold a record twice after", "a lost answer"),
    box((660, 20, 240, 112), AWS, "3  event source mapping", "gathers a batch a shard; retries,", "bisects, delivers again:", "at least once, in order"),
    box((660, 190, 240, 112), RUN, "4  the function", "processors/aggregate", "which lane is each record of;", "drops a producer's repeats", "(progress says what it had)"),
    box((355, 190, 240, 112), CORE, "5  read", "streamgage/formats, reading", "bytes to columns; what cannot be", "read is poison, with its place", "and reason"),
    box((20, 190, 270, 112), CORE, "6  fold", "streamgage/fold, measures", "columns to columns of states, one a", "(key, window, lane), exact integers"),
    box((20, 360, 270, 112), RUN, "7  write", "processors/sink", "one conditional write an item: its", "fence is the last record folded in;", "a redelivery changes nothing"),
    box((355, 360, 240, 112), AWS, "8  DynamoDB", "an item some thirty keys of a", "(window, lane), and progress a", "lane; a chunk of keys and size", "is one partition"),
    box((660, 360, 240, 112), RUN, "9  a question", "processors/query", "reads a range of windows, finds", "its keys, merges lanes; says what", "may change, and what is partial"),
    box((355, 520, 240, 60), ASIDE, "quarantine: SQS, S3", "processors/quarantine"),
    arrow((290, 76), (353, 76)),
    arrow((595, 76), (658, 76)),
    arrow((710, 132), (710, 188)),
    arrow((660, 246), (597, 246)),
    arrow((355, 246), (292, 246)),
    arrow((155, 302), (155, 358)),
    arrow((290, 416), (353, 416)),
    arrow((658, 400), (597, 400)),
    arrow((595, 432), (658, 432)),
    arrow((475, 302), (475, 330), (322, 330), (322, 550), (353, 550), label="poison", at=(330, 510)),
    arrow((900, 246), (930, 246), (930, 46), (902, 46), label="the first that is not durable", at=(735, 163)),
]  # fmt: skip

if __name__ == "__main__":
    write("rooms", (900, 745), "The rooms of streamgage, and which may import which", ROOMS)
    write("way", (950, 600), "An event's way from put() to the table, and a question back", WAY)
