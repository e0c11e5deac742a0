//! The delta file: what an adaptation changed, compact and verifiable. no_std.
