"""A load as it runs: senders as processes of their own, and every rollup that they fed beside what was sent."""
