//! Files that survive power cuts: one small file-system trait and atomic commit.
