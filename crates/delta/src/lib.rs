//! Delta file format: the tensors that an adaptation changed, compact and verifiable.
//!
//! A delta contains everything that another device needs to run an adaptation on the same base model: the base's id,
//! the labels, the input size, and the changed tensors, as differences from the base or, for a new head, as
//! replacements. Other tensors are the base's.
//!
//! This crate contains the format alone. It is `no_std`, forbids `unsafe`, and verifies, iterates and decodes without a
//! heap, so that a microcontroller can check a file before it passes it on; only writing, under the feature `alloc`,
//! needs one. The code that applies a delta checks names, shapes and constraints against the base.
//!
//! ```
//! # #[cfg(feature = "alloc")] {
//! use fieldfit_delta::{Constraint, Codec, Delta, HeadDescription, Header, TensorKind, Provenance, Task, TensorData, encode};
//! use fieldfit_tensor::Norm;
//!
//! let provenance = Provenance { method: "tpgm".try_into().unwrap(), ..Provenance::default() };
//! let header = Header {
//!     base: [7; 32],
//!     parent: None,
//!     task: Task::Classification,
//!     input_size: 128,
//!     crop: 0.875,
//!     classes: 2,
//!     tensors: 0, // counted by `encode`
//!     provenance,
//!     head: HeadDescription::default(),
//! };
//! let moved = TensorData {
//!     name: "stem.weight",
//!     shape: &[2, 3],
//!     kind: TensorKind::Difference,
//!     constraint: Some(Constraint { norm: Norm::Mars, radius: 0.5, distance: 0.375 }),
//!     codec: Codec::F16,
//!     values: &[0.25, 0.0, -0.125, 0.0, 0.0, 0.0625],
//! };
//! let file = encode(&header, &["cat", "dog"], &[moved])?;
//!
//! let delta = Delta::parse(&file)?;
//! assert!(delta.labels().eq(["cat", "dog"]));
//! for record in delta.records() {
//!     let mut values = vec![0.0; record.len()];
//!     record.decode_into(&mut values)?;
//!     assert_eq!(values, moved.values);
//! }
//! # }
//! # Ok::<(), fieldfit_delta::DeltaError>(())
//! ```
//!
//! # The file, format version 4
//!
//! Integers and floats are little-endian; there is no padding. `H`, `L`, `n`, `r` and `P` are lengths that the file
//! gives.
//!
//! ```text
//!   offset    bytes
//!        0        8  magic: 89 46 46 44 45 4C 54 41, "\x89FFDELTA"
//!        8        4  u32  format version: 4 for regression and multi-label classification; else 3, or 2 where the head is
//!                    the default, and is left out, and the task is classification
//!       12        4  u32  H, the header's length, at most 4096
//!       16        8  u64  the file's length, to the last byte of its hash
//!       24        H  the header: `Header`, then `Option<Fidelity>`, then `HeadDescription`, field by field, as postcard 1
//!                    encodes them
//!   24 + H        4  u32  the number of labels: the header's classes
//!   28 + H        4  u32  L, the labels' length
//!   32 + H        L  the labels, each:
//!                        2  u16  n, its length, at most 256
//!                        n  UTF-8
//!   32 + H + L    …  the records, as many as the header's tensors, each:
//!                        2  u16  n, the name's length, 1 to 128
//!                        n  the name, UTF-8
//!                        1  r, the number of dimensions, 1 to 6
//!                      4·r  u32 each: the dimensions, outermost first, none of them 0
//!                        1  kind: 0 difference, 1 replacement, 2 statistic
//!                        1  constraint: 0 none, 1 L2, 2 MARS; unless none:
//!                           4  f32  radius
//!                           4  f32  distance of the decoded difference
//!                        1  codec: 0 f16, 1 int8, 2 f32, 3 int4, 4 ternary, 5 sign, 6 sparse
//!                        4  u32  P, the payload's length
//!                        P  payload
//!        …       32  SHA-256 of every byte before it
//!
//!   and if the file is signed, beyond the length that it gives:
//!                  8  u64  sequence
//!                 32  the signer's Ed25519 public key
//!                 64  Ed25519 (RFC 8032) signature of "fieldfit delta 2", the sequence's 8 bytes and the 32 of the SHA-256
//!
//!   payload f16      2 each: the values, IEEE half precision
//!   payload int8     for each row (index of the first dimension; of the second where there are three and the first is 1;
//!                    one row for a tensor of one dimension):
//!                        4  f32  scale, ≥ 0
//!                        1 each: codes, i8 from −127 to 127; value = scale · code
//!   payload f32      4 each: the values
//!   payload int4, ternary, sign
//!                    for each row:
//!                        2  bfloat16  scale, ≥ 0
//!                        2, 5 or 8 values a byte: digits of base 16, 3 or 2, the first value's the lowest;
//!                           value = scale · (digit − 8), digits 1 to 15; scale · (digit − 1); scale · (2·digit − 1);
//!                           a row's last byte is filled with the digit 8, 1 or 1
//!   payload sparse   1 bit a row, the first in the lowest of the first byte, filled with zeros: whether it moved;
//!                        2 each: the values of the rows that did, as f16
//! ```
//!
//! Records are in the network's order, each name once. Every byte belongs to exactly one field: no bytes are allowed
//! between sections or after the last record, and only a signature after the hash. A signature signs the hash, so that
//! a delta keeps its identity when it is signed, or signed again by another key.
//!
//! # Versions
//!
//! A reader reads every format version up to [`VERSION`] and refuses later ones by number. A change to the layout or to
//! the meaning of any field takes a new version. New codecs, kinds and norms do not: each record names its own, and a
//! reader reports an unknown one.
//!
//! | version | what is new                                                       |
//! |---------|-------------------------------------------------------------------|
//! | 1       |                                                                   |
//! | 2       | fidelity of encoding, at the header's end; signatures             |
//! | 3       | the head, at the header's end: kept, taught, threshold of novelty; the task segmentation |
//! | 4       | the tasks regression and multi-label classification              |
//!
//! A writer writes the earliest version that has room for a file, so that earlier readers read what they can.
//!
//! # Compression
//!
//! With the feature `compression`, [`compression`] compresses a file to a zstd frame and decompresses it, signature
//! included. It is not a format of its own: any zstd tool reads and writes it.
//!
//! # Trust
//!
//! The hash detects damage, not forgery. Therefore every other field is checked after the hash, and against the
//! [`limits`] before anything is computed from it.
//!
//! No label, name or text of the header has control or bidirectional characters, which could move a terminal's cursor or
//! forge a line of output. The differences of a file decode to no more values than the base has, as
//! [`Delta::parse_for`] is told, or than a limit: a few bytes of a sparse tensor could else take gigabytes.
//!
//! A file with an invalid [`Signature`] is rejected like a damaged one. The caller decides whether to trust the key,
//! and whether the sequence is newer than the last one; `fieldfit_store` implements such a policy.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "compression")]
extern crate std;

mod codec;
#[cfg(feature = "compression")]
pub mod compression;
mod cursor;
mod duplicate_names;
mod error;
mod header;
mod layout;
pub mod limits;
mod read;
mod record;
mod signature;
#[cfg(feature = "alloc")]
mod statement;
#[cfg(feature = "alloc")]
mod write;

pub use codec::{Codec, CodecError};
pub use error::{DeltaError, TensorName};
pub use fieldfit_tensor::Task;
pub use header::{Fidelity, HeadDescription, HeadOrigin, Header, NoveltyThreshold, Provenance};
pub use layout::VERSION;
pub use read::Delta;
pub use record::{Constraint, Record, TensorKind};
#[cfg(feature = "alloc")]
pub use signature::SecretKey;
pub use signature::{PublicKey, Signature};
#[cfg(feature = "alloc")]
pub use write::{TensorData, encode, encode_with};
