//! The face of it all: a Runtime that opens a base, infers, adapts, activates and rolls back.
