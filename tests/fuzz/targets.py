"""How a fuzz target is run: seeds on disk, bounds on time and memory of one input, then libFuzzer's loop."""

import sys
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

import atheris  # in a virtual environment of its own: see `make fuzz`

# What is found stays for the next run, out of version control.
_HOME = Path(__file__).parents[2] / ".streamgage" / "fuzz"
# One input of at most 4 KB may neither run for long nor grow the process: a hang or a blow-up is a finding.
_BOUNDS = {"-max_len": "4096", "-timeout": "60", "-rss_limit_mb": "700", "-malloc_limit_mb": "100"}


def fuzz(check: Callable[[bytes], None], seeds: Iterable[bytes], words: Iterable[bytes] = ()) -> None:
    """Run *check* on mutants of *seeds*, and on what earlier runs kept, until libFuzzer's options say stop.

    *words* are put into mutants as they are. What breaks a promise is printed and saved under ``findings``.
    """
    home = _HOME / Path(sys.argv[0]).stem
    corpus, findings, dictionary = home / "corpus", home / "findings", home / "words"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    for seed in seeds:
        Path(corpus, sha256(seed).hexdigest()[:16]).write_bytes(seed)
    escaped = ("".join(rf"\x{byte:02x}" for byte in word) for word in words)
    dictionary.write_text("".join(f'"{word}"\n' for word in escaped))
    given = {each.partition("=")[0] for each in sys.argv[1:]}
    options = {**_BOUNDS, "-dict": str(dictionary), "-artifact_prefix": f"{findings}/"}
    added = [f"{name}={value}" for name, value in options.items() if name not in given]
    named = any(
        not each.startswith("-") for each in sys.argv[1:]
    )  # an input to try again, instead of the corpus
    atheris.Setup([*sys.argv, *added, *([] if named else [str(corpus)])], check, enable_python_coverage=True)
    atheris.Fuzz()
