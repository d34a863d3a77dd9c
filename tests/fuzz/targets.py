"""How a fuzz target is run: seeds on disk, bounds on time and memory of one input, then libFuzzer's loop."""

import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import atheris  # type: ignore[import-not-found]  # in a virtual environment of its own: see `make fuzz`

# One input of at most 4 KB may neither run for long nor grow the process: a hang or a blow-up is a finding.
_BOUNDS = {"-max_len": "4096", "-timeout": "10", "-rss_limit_mb": "700", "-malloc_limit_mb": "100"}


def fuzz(check: Callable[[bytes], None], seeds: Iterable[bytes], dictionary: Iterable[bytes] = ()) -> None:
    """Run *check* on mutants of *seeds* until libFuzzer's options (``-runs``, ``-max_total_time``) say stop."""
    with tempfile.TemporaryDirectory(prefix="streamgage-fuzz-") as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, seed in enumerate(seeds):
            Path(corpus, str(number)).write_bytes(seed)
        words = Path(folder, "words")
        escaped = ("".join(rf"\x{byte:02x}" for byte in word) for word in dictionary)
        words.write_text("".join(f'"{word}"\n' for word in escaped))
        given = [each.partition("=")[0] for each in sys.argv[1:]]
        bounds = [f"{name}={value}" for name, value in _BOUNDS.items() if name not in given]
        atheris.Setup(
            [*sys.argv, *bounds, f"-dict={words}", str(corpus)], check, enable_python_coverage=True
        )
        atheris.Fuzz()
