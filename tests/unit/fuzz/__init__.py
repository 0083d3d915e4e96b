"""The pure parts of the fuzzers."""
