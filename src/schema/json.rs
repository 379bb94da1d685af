//! A strict JSON scanner (RFC 8259) that reports where it failed.
