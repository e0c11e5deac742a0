//! Tests of invalid model folders: each is rejected, with an error that names the defect and the place.
#![allow(clippy::unwrap_used, reason = "a test that cannot prepare its files has failed")]

mod support;

use fieldfit_model::{Base, LABELS_FILE, MANIFEST_FILE, ModelError};
use fieldfit_tests::message;
use safetensors::Dtype;
use std::fs;
use support::{Model, Tensor, find, serialise};

/// Catches: opening a folder that lacks a file and running on what is left, or an error that doesn't say which file.
#[test]
fn a_missing_file_is_named() {
    for file in [MANIFEST_FILE, LABELS_FILE, "weights.safetensors"] {
        let model = Model::new();
        fs::remove_file(model.folder.join(file)).unwrap();
        let error = model.open().unwrap_err();
        assert!(matches!(&error, ModelError::Missing { path } if path.ends_with(file)), "{error:?}");
    }
}

/// Catches: a map of a file that ends before its tensors do: reading it would kill the process.
#[test]
fn an_empty_or_truncated_weights_file_is_refused() {
    let model = Model::new();
    let whole = fs::read(model.weights()).unwrap();
    for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        model.replace_weights(&whole[..length]);
        let error = model.open().unwrap_err();
        let expected_lengths = (whole.len() as u64, length as u64);
        assert!(
            matches!(&error, ModelError::Length { expected, found, .. } if (*expected, *found) == expected_lengths),
            "{error:?}"
        );
        model.seal_weights(&whole[..length]);
        let error = model.open().unwrap_err();
        assert!(matches!(error, ModelError::Safetensors { .. }), "{length} bytes under a new manifest: {error:?}");
        model.seal_weights(&whole);
    }
    model.open().unwrap();
}

/// Catches: a bit that flipped on the disk, in the header or in the values.
#[test]
fn an_altered_weights_file_is_refused() {
    let model = Model::new();
    let whole = fs::read(model.weights()).unwrap();
    let header = 8 + u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
    for position in [header, (header + whole.len()) / 2, whole.len() - 2] {
        let mut altered = whole.clone();
        altered[position] ^= 1;
        model.replace_weights(&altered);
        let error = model.open().unwrap_err();
        assert!(matches!(error, ModelError::Altered { .. }), "byte {position}: {error:?}");
    }
    for position in (0..header).step_by(97) {
        let mut altered = whole.clone();
        altered[position] ^= 1;
        model.replace_weights(&altered);
        model.open().unwrap_err();
    }
}

/// Catches: a weights file of a slightly different architecture that would run with garbage or not at all.
#[test]
fn tensors_are_those_of_the_architecture() {
    let name = "_blocks.1._bn2.weight";
    let refused = |edit: fn(&mut Vec<Tensor>)| {
        let model = Model::new();
        model.edit_tensors(edit);
        model.open().unwrap_err()
    };
    let missing = refused(|tensors| tensors.retain(|tensor| tensor.name != "_blocks.1._bn2.weight"));
    assert!(matches!(&missing, ModelError::TensorMissing { name: n, .. } if n == name), "{missing:?}");

    let extra = refused(|tensors| {
        let copy = Tensor { name: "_blocks.9._bn2.weight".into(), ..tensors[0].clone() };
        tensors.push(copy);
    });
    assert!(matches!(&extra, ModelError::TensorExtra { name, .. } if name == "_blocks.9._bn2.weight"), "{extra:?}");

    let shape = refused(|tensors| find(tensors, "_conv_stem.weight").shape = vec![3, 8, 3, 3]);
    assert!(
        matches!(&shape, ModelError::TensorShape { name, expected, found, .. }
            if name == "_conv_stem.weight" && *expected == [8, 3, 3, 3] && *found == [3, 8, 3, 3]),
        "{shape:?}"
    );
    for error in [missing, extra, shape] {
        let text = message(&error);
        assert!(text.contains("weights.safetensors") && text.contains("efficientnet-tiny"), "{text}");
    }
}

/// Catches: integers read as floats, or a running variance in half precision that has flushed to zero.
#[test]
fn tensors_are_of_a_type_that_can_be_used() {
    for (name, dtype, size) in [
        ("_conv_stem.weight", Dtype::I16, 2),
        ("_conv_stem.weight", Dtype::F64, 8),
        ("_bn0.running_var", Dtype::F16, 2),
        ("_fc.bias", Dtype::I32, 4),
    ] {
        let model = Model::new();
        model.edit_tensors(|tensors| {
            let tensor = find(tensors, name);
            tensor.dtype = dtype;
            tensor.bytes = vec![0; tensor.shape.iter().product::<usize>() * size];
        });
        let error = model.open().unwrap_err();
        assert!(
            matches!(&error, ModelError::TensorDtype { name: n, found, .. } if n == name && *found == dtype.to_string()),
            "{error:?}"
        );
    }
}

/// Catches: int8 weights with the scales of another tensor, with none, with a part of them or with infinite ones, and scales of a tensor
/// that has none taken for a part of the network.
#[test]
fn scales_are_those_of_their_int8_tensor() {
    const KERNEL: &str = "_conv_stem.weight";
    let refused = |edit: fn(&mut Tensor)| {
        let model = Model::new();
        model.edit_tensors(|tensors| {
            let kernel = find(tensors, KERNEL);
            kernel.dtype = Dtype::I8;
            kernel.bytes = vec![1; kernel.shape.iter().product()];
            let (rows, scale) = (kernel.shape[0], 0.5_f32.to_le_bytes());
            let name = format!("{KERNEL}_scale");
            let mut scales = Tensor { name, dtype: Dtype::F32, shape: vec![rows], bytes: scale.repeat(rows) };
            edit(&mut scales);
            tensors.push(scales);
        });
        model.open()
    };
    let base = refused(|_| ()).unwrap();
    let (id, spec) = base.network().tensors().find(|(_, spec)| spec.name == KERNEL).unwrap();
    let mut values = vec![0.0_f32; spec.len()];
    base.tensor(id).copy_into(&mut values);
    assert!(values.iter().all(|value| *value == 0.5));

    let named = |error: &ModelError| message(error).contains("_conv_stem.weight");
    let missing = refused(|scales| scales.name = "_conv_stem.weight_scales".into()).unwrap_err();
    assert!(matches!(missing, ModelError::TensorExtra { .. } | ModelError::TensorMissing { .. }), "{missing:?}");
    let part = refused(|scales| {
        scales.shape[0] -= 1;
        scales.bytes.truncate(scales.bytes.len() - 4);
    });
    assert!(matches!(part.as_ref().unwrap_err(), ModelError::TensorShape { .. }) && named(&part.unwrap_err()));
    let half = refused(|scales| {
        scales.dtype = Dtype::F16;
        scales.bytes.truncate(scales.bytes.len() / 2);
    });
    assert!(matches!(half.as_ref().unwrap_err(), ModelError::TensorDtype { .. }) && named(&half.unwrap_err()));
    let infinite = refused(|scales| scales.bytes[4..8].copy_from_slice(&f32::INFINITY.to_le_bytes())).unwrap_err();
    let row = spec.len() / spec.shape[0];
    assert!(matches!(infinite, ModelError::NotFinite { index, .. } if index == row), "{infinite:?}");

    let model = Model::new();
    model.edit_tensors(|tensors| {
        let bytes = vec![0; 4 * find(tensors, KERNEL).shape[0]];
        let shape = vec![bytes.len() / 4];
        tensors.push(Tensor { name: format!("{KERNEL}_scale"), dtype: Dtype::F32, shape, bytes });
    });
    assert!(matches!(model.open().unwrap_err(), ModelError::TensorExtra { .. }));
}

/// Catches: a NaN that would spread to every logit, at either end of a tensor and in either stored type.
#[test]
fn values_are_finite() {
    let halves = [0x7c00_u16, 0xfc00, 0x7e01].map(|bits| bits.to_le_bytes().to_vec());
    let singles = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(|value| value.to_le_bytes().to_vec());
    for (name, values) in [("_conv_head.weight", halves), ("_bn1.running_var", singles)] {
        for (value, at_end) in values.iter().zip([false, true, false]) {
            let model = Model::new();
            let mut index = 0;
            model.edit_tensors(|tensors| {
                let bytes = &mut find(tensors, name).bytes;
                index = if at_end { bytes.len() / value.len() - 1 } else { 0 };
                bytes[index * value.len()..][..value.len()].copy_from_slice(value);
            });
            let error = model.open().unwrap_err();
            assert!(
                matches!(&error, ModelError::NotFinite { name: n, index: i, .. } if n == name && *i == index),
                "{error:?}"
            );
        }
    }
}

/// Catches: predictions under the wrong names.
#[test]
fn labels_match_the_classifier() {
    let model = Model::new();
    for count in [0, 9, 11] {
        fs::write(model.labels(), (0..count).map(|class| format!("class{class}\n")).collect::<String>()).unwrap();
        let error = model.open().unwrap_err();
        assert!(
            matches!(error, ModelError::Labels { expected: 10, found, .. } if found == count),
            "{count} labels: {error:?}"
        );
    }
    for (labels, expected) in [("a\nb\n\nd\n", "line 3"), ("a\nb\na\n", "line 3: label `a` is there twice")] {
        fs::write(model.labels(), labels).unwrap();
        let error = model.open().unwrap_err();
        assert!(matches!(error, ModelError::Label { line: 3, .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// Catches: a head of no rows under no labels, which fit each other, taken for a head; a head without labels taken for none.
#[test]
fn without_labels_there_is_no_head() {
    let model = Model::new();
    let labels = fs::read(model.labels()).unwrap();
    fs::write(model.labels(), "").unwrap();
    let error = model.open().unwrap_err();
    assert!(matches!(error, ModelError::Labels { expected: 10, found: 0, .. }), "{error:?}");
    model.edit_tensors(|tensors| {
        for name in ["_fc.weight", "_fc.bias"] {
            let tensor = find(tensors, name);
            tensor.shape[0] = 0;
            tensor.bytes.clear();
        }
    });
    assert!(model.open().unwrap().network().is_headless());
    fs::write(model.labels(), labels).unwrap();
    let error = model.open().unwrap_err();
    assert!(matches!(error, ModelError::Labels { expected: 0, found: 10, .. }), "{error:?}");
}

/// Catches: a manifest that is taken for another, or that leads out of its folder.
#[test]
fn a_manifest_says_what_it_must() {
    let model = Model::new();
    let path = model.folder.join(MANIFEST_FILE);
    let whole = fs::read_to_string(&path).unwrap();
    let refused = |from: &str, to: &str| {
        assert!(whole.contains(from), "{from}");
        fs::write(&path, whole.replacen(from, to, 1)).unwrap();
        model.open().unwrap_err()
    };
    for (from, to, expected) in [
        ("[input]", "colour = 3\n[input]", "colour"),
        ("bicubic", "nearest", "nearest"),
        ("sha256 = \"", "sha256 = \"x", "sha256"),
    ] {
        let error = refused(from, to);
        assert!(matches!(error, ModelError::Manifest { .. }), "{to}: {error:?}");
        let text = message(&error);
        assert!(text.contains("manifest.toml") && text.contains(expected), "{text}");
    }
    for (from, to, expected) in [
        ("size = 32", "size = 0", "input.size"),
        ("crop = 0.875", "crop = nan", "input.crop"),
        ("std = [128.0", "std = [0.0", "preprocessing.std"),
        ("file = \"weights.safetensors\"", "file = \"../weights.safetensors\"", "weights.file"),
        ("file = \"weights.safetensors\"", "file = \"..\"", "weights.file"),
    ] {
        let error = refused(from, to);
        assert!(matches!(&error, ModelError::ManifestValue { field, .. } if *field == expected), "{to}: {error:?}");
    }
    let error = refused("architecture = \"efficientnet-tiny\"", "architecture = \"resnet-9000\"");
    assert!(matches!(error, ModelError::Architecture(_)), "{error:?}");
}

/// Catches: a copying open that checks less than the mapping one, or reads other values.
#[test]
fn a_copy_is_the_same_base() {
    let model = Model::new();
    let (mapped, copied) = (model.open().unwrap(), Base::open_copied(&model.folder).unwrap());
    assert_eq!(mapped.id(), copied.id());
    assert_eq!(mapped.params::<f32>(), copied.params::<f32>());
    model.replace_weights(&serialise(&[]));
    assert!(matches!(Base::open_copied(&model.folder).unwrap_err(), ModelError::Length { .. }));
}

/// Catches: a base known by its name or its place, so that a delta would be refused after a copy or accepted on other weights.
#[test]
fn the_id_is_that_of_the_content() {
    let model = Model::new();
    let id = model.open().unwrap().id();
    let moved = model.temporary.path().join("elsewhere");
    fs::rename(&model.folder, &moved).unwrap();
    assert_eq!(Base::open(&moved).unwrap().id(), id);

    let model = Model::new();
    model.edit_manifest(|manifest| manifest.name = "another name".into());
    assert_eq!(model.open().unwrap().id(), id);
    model.edit_manifest(|manifest| manifest.preprocessing.mean[2] = 126.0);
    assert_ne!(model.open().unwrap().id(), id);

    let model = Model::new();
    model.edit_tensors(|tensors| find(tensors, "_fc.bias").bytes[0] ^= 1);
    assert_ne!(model.open().unwrap().id(), id);
}
