//! Tests of damaged real files: a delta of EfficientNet-Lite0 in all its codecs, and the weights. Guards against
//! damage that is accepted because no check reads the place where it is, or that makes a reader panic.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use fieldfit::delta::{Codec, SecretKey};
use fieldfit::model::Base;
use fieldfit::train::Norm;
use fieldfit_delta::{Delta, Provenance, encode};
use fieldfit_model::{TrainingResult, Weights, encode_delta};
use fieldfit_tensor::Params;
use sha2::{Digest, Sha256};
use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

fn lite0() -> Base {
    Base::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/efficientnet-lite0")).unwrap()
}

/// A signed delta of every tensor of the base, tensor by tensor in another codec.
fn delta(base: &Base) -> Vec<u8> {
    let network = base.network();
    let mut delta = Params::zeros(network);
    for (id, _) in network.tensors().filter(|(_, spec)| spec.role.is_trainable()) {
        let step = 0.37 + id.index() as f32 / 64.0;
        delta[id].iter_mut().enumerate().for_each(|(index, value)| *value = 1e-3 * (index as f32 * step).sin());
    }
    let codecs: Vec<Codec> = (0..network.tensors.len()).map(|index| Codec::ALL[index % Codec::ALL.len()]).collect();
    let change = TrainingResult {
        delta: &delta,
        radii: &vec![None; network.tensors.len()],
        norm: Norm::Mars,
        head_weight: &vec![0.25; 2 * network.head.features],
        head_bias: &[0.5, -0.5],
        labels: &["cat".to_owned(), "dog".to_owned()],
        input_size: 128,
        crop: 0.875,
        codecs: &codecs,
    };
    let file = encode_delta(base, &change, Provenance::default(), None).unwrap();
    SecretKey::from_seed(&[1; 32]).sign(&file, 1).unwrap()
}

/// Places in every region: the first and the last 256 bytes, and one of each `stride` in between, each time a byte farther on.
fn places(length: usize, stride: usize) -> impl Iterator<Item = usize> {
    (0..length).filter(move |&at| at < 256 || at + 256 > length || at % stride == (at / stride) % stride)
}

/// Catches: a region of the delta that the hash or the signature doesn't cover.
#[test]
fn no_byte_of_a_real_delta_can_be_changed() {
    let base = lite0();
    let whole = delta(&base);
    assert!(Weights::adapted(&base, &Delta::parse(&whole).unwrap()).is_ok());
    let mut damaged = whole.clone();
    for (turn, at) in places(whole.len(), 9973).enumerate() {
        damaged[at] ^= 1 << (turn % 8);
        assert!(Delta::parse(&damaged).is_err(), "byte {at} of {}", whole.len());
        damaged[at] = whole[at];
    }
    for length in places(whole.len(), 9973) {
        // A signature that is cut off whole leaves an unsigned delta, which is for the policy to refuse.
        let unsigned = length == whole.len() - 104;
        assert_eq!(Delta::parse(&whole[..length]).is_ok(), unsigned, "{length} of {} bytes", whole.len());
    }
    for surplus in [1, 31, 104, 4096] {
        let longer = [&whole[..], &vec![0; surplus]].concat();
        assert!(Delta::parse(&longer).is_err(), "{surplus} bytes too many");
    }
}

/// Catches: a part of one delta that is taken for the same part of another: halves, headers, single records, hashes.
#[test]
fn no_part_of_another_delta_fits() {
    let base = lite0();
    let one = delta(&base);
    let parsed = Delta::parse(&one).unwrap();
    let labels: Vec<&str> = parsed.labels().collect();
    let other = encode(parsed.header(), &labels, &[]).unwrap();
    assert!(Delta::parse(&other).is_ok());
    let splices: Vec<(Range<usize>, Range<usize>)> = (1..16)
        .map(|part| (0..one.len() * part / 16, other.len() * part / 16..other.len()))
        .chain((1..16).map(|part| (one.len() * part / 16..one.len(), 0..other.len() * part / 16)))
        .collect();
    for (from_one, from_other) in splices {
        let first = if from_one.start == 0 {
            [&one[from_one], &other[from_other]]
        } else {
            [&other[from_other], &one[from_one]]
        };
        assert!(Delta::parse(&first.concat()).is_err());
    }
}

/// Catches: a file whose hash an attacker made right: whatever it says now, it is applied or refused, and never a
/// panic.
#[test]
fn a_resealed_delta_never_panics() {
    let base = lite0();
    let whole = delta(&base);
    let unsigned = &whole[..whole.len() - 104];
    let end = unsigned.len() - 32;
    let (mut applied, mut refused) = (0, 0);
    for (turn, at) in places(end, 49_999).filter(|at| *at >= 8).step_by(4).enumerate() {
        let mut forged = unsigned.to_vec();
        forged[at] ^= 1 << (turn % 8);
        let hash = Sha256::digest(&forged[..end]);
        forged[end..].copy_from_slice(&hash);
        match Delta::parse(&forged).map(|delta| Weights::adapted(&base, &delta)) {
            Ok(Ok(_)) => applied += 1,
            Ok(Err(_)) | Err(_) => refused += 1,
        }
    }
    assert!(applied > 0 && refused > 20, "{applied} applied, {refused} refused: the forger's edits reach nothing");
}

/// Catches: a region of the weights that nobody hashes, or a header that is believed before it is.
#[test]
fn no_byte_of_real_weights_can_be_changed() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/efficientnet-lite0");
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(source).unwrap() {
        let file = file.unwrap();
        fs::write(folder.path().join(file.file_name()), fs::read(file.path()).unwrap()).unwrap();
    }
    assert!(Base::open(folder.path()).is_ok());
    let path = folder.path().join("weights.safetensors");
    let whole = fs::read(&path).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let in_header = (0..header).step_by(997);
    let in_tensors = (header..whole.len()).step_by(199_999);
    for (turn, at) in (0..8).chain(in_header).chain(in_tensors).chain([whole.len() - 1]).enumerate() {
        file.write_all_at(&[whole[at] ^ (1 << (turn % 8))], at as u64).unwrap();
        let refused = Base::open(folder.path()).err();
        assert!(refused.is_some_and(|error| error.to_string().len() > 20), "byte {at} of {}", whole.len());
        file.write_all_at(&whole[at..=at], at as u64).unwrap();
    }
    assert!(Base::open(folder.path()).is_ok(), "the damage was not undone");
    for length in [0, 7, 8, header - 1, header, header + 1, whole.len() / 2, whole.len() - 1, whole.len() + 1] {
        file.set_len(length as u64).unwrap();
        assert!(Base::open(folder.path()).is_err(), "{length} of {} bytes", whole.len());
        file.set_len(whole.len() as u64).unwrap();
        file.write_all_at(&whole, 0).unwrap();
    }
    let splice = [&whole[..whole.len() / 2], &whole[..whole.len() - whole.len() / 2]].concat();
    fs::write(&path, splice).unwrap();
    assert!(Base::open(folder.path()).is_err());
}
