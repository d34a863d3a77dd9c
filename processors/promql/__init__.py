"""PromQL over rollups, and the Prometheus HTTP API as a function: docs/promql.md."""
