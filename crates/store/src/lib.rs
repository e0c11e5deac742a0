//! Adaptations on disk: versions, activation, rollback.
