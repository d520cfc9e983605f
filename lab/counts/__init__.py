"""From what callgrind has written of a run to instructions per request: docs/counting.md."""
