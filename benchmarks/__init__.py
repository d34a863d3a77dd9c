"""The benchmark suite: one module a question, each with ``QUESTION`` and ``run``. See docs/benchmarks.md."""
