//! Tables for the pure functions: given as YAML, expected in short.
