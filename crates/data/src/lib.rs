//! Frames, image folders, the three-way split, augmentation and batches.
