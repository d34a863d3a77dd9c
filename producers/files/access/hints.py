"""What a line probably is that no layout fits, and what to do about it."""

import re

_CORE = re.compile(r"\[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[^\]]*+\] \"")
_ADDRESS = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f:]*+:[0-9A-Fa-f:]++"
_LIKELY = (
    (
        re.compile(r"[0-9]{9,10}\.[0-9]{3} ++[0-9]++ "),
        "Squid's native layout; set `access_log … combined` in squid.conf",
    ),
    (
        re.compile(r"[0-9]{4}/[0-9]{2}/[0-9]{2} [0-9:]{8} \[[a-z]++\] "),
        "nginx's error log, not its access log",
    ),
    (
        re.compile(r"\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9:.]++ [0-9]{4}\] \["),
        "Apache's error log, not its access log",
    ),
    (
        re.compile(
            r"[^\s,]++, [^,]*+, [0-9]{1,2}[/.][0-9]{1,2}[/.][0-9]{2,4}, [0-9]{1,2}:[0-9]{2}:[0-9]{2}, W3SVC"
        ),
        "IIS's own layout; choose W3C in its log settings, which says what stands where",
    ),
    (
        re.compile(rf"(?:{_ADDRESS}|unknown), ?"),
        "a list of addresses (X-Forwarded-For) where the client should stand; cut it to one",
    ),
    (
        re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ \t][0-9:]{8}[ \t]"),
        "W3C layout (IIS, CloudFront) without its #Fields line",
    ),
    (re.compile(r"\"[a-z_]++\",\""), "CSV (Google Cloud Storage, say): streamgage send csv"),
    (
        re.compile(r"\{|\[[{\"]"),
        "JSON of a layout of its own: streamgage send ndjson FILE --source click --map page=…",
    ),
)


def likely(text: str) -> str:
    """Return what *text* probably is, as the end of a sentence; a guess for a person, never acted upon."""
    for pattern, what in _LIKELY:
        if pattern.match(text):
            return f"likely {what}"
    if len(re.findall(r'(?<!\\)"', text)) % 2:
        return "likely cut off (a quote is not closed)"
    core = _CORE.search(text)
    if core is None:
        return 'there is no [time] "request" in it'
    before = text[: core.start()].split()
    if len(before) > 4:
        return f"likely a prefix stands before the client: {' '.join(before[:-3])[:60]!r}; cut it off"
    return "likely a layout of its own (LogFormat, log_format): nothing but one that is known is read"
