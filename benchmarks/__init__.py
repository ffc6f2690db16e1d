"""The course's servers measured beside their peers: `make bench`; docs/benchmarks.md says what and how."""
