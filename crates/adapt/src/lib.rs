//! The trainer: methods, optimisers, events, checkpoints and the gate.
