//! Tests of import: a checkpoint in every format becomes the same model.
#![allow(clippy::unwrap_used, reason = "a test that cannot prepare its files has failed")]

mod support;

use fieldfit_model::import::{Format, ImportReport, ImportRequest, import};
use fieldfit_model::{Base, WeightsType};
use fieldfit_tensor::{Dtype, QuantisedRows, TensorView};
use fieldfit_tests::tiny;
use std::fs;
use std::path::Path;
use support::{Tensor, read_tensors, torch};
use tempfile::TempDir;
use zip::CompressionMethod;

/// A folder with labels for `efficientnet-tiny`, and the tensors of a checkpoint.
fn prepare() -> (TempDir, Vec<Tensor>) {
    let folder = TempDir::new().unwrap();
    tiny::base(folder.path(), 3);
    let tensors = read_tensors(&folder.path().join("tiny-3.safetensors"));
    (folder, tensors)
}

fn import_bytes(folder: &Path, name: &str, bytes: &[u8], dtype: impl Into<WeightsType>) -> (ImportReport, Base) {
    let (weights, labels, out) = (folder.join("weights.bin"), folder.join("labels.txt"), folder.join(name));
    fs::write(&weights, bytes).unwrap();
    let request = ImportRequest::new(&weights, &out).of("efficientnet-tiny", &labels).with_dtype(dtype);
    (import(&request).unwrap(), Base::open(&out).unwrap())
}

/// Catches: a reader of one format that permutes, shifts or drops values: strides and offsets are those of a converted checkpoint.
#[test]
fn every_format_gives_the_same_base() {
    let (folder, tensors) = prepare();
    let expected = Base::open(&folder.path().join("tiny-3")).unwrap();
    let entries = torch::entries(&tensors);
    for (name, bytes, format) in [
        ("legacy", torch::legacy(&entries), Format::TorchLegacy),
        ("stored", torch::zip(&entries, CompressionMethod::Stored), Format::TorchZip),
        ("deflated", torch::zip(&entries, CompressionMethod::Deflated), Format::TorchZip),
        ("safetensors", support::serialise(&tensors), Format::Safetensors),
    ] {
        let (report, base) = import_bytes(folder.path(), name, &bytes, Dtype::F16);
        assert_eq!(report.format, format);
        assert_eq!((report.id, base.id()), (expected.id(), expected.id()), "{name}");
        assert_eq!(base.params::<f32>(), expected.params::<f32>(), "{name}");
        assert_eq!(report.detected.tensors, expected.network().tensors.len());
        let ignored: &[&str] = if format == Format::Safetensors { &[] } else { &["_bn0.num_batches_tracked"] };
        assert_eq!(report.ignored, ignored);
    }
}

/// Catches: vectors rounded to half precision, or kernels stored in another type than was asked for.
#[test]
fn vectors_stay_single_precision() {
    let (folder, tensors) = prepare();
    for (name, dtype) in [("half", Dtype::F16), ("brain", Dtype::Bf16), ("single", Dtype::F32)] {
        let (_, base) = import_bytes(folder.path(), name, &support::serialise(&tensors), dtype);
        for (id, spec) in base.network().tensors() {
            let expected = if spec.shape.len() < 2 { Dtype::F32 } else { dtype };
            assert_eq!(base.tensor(id).floats().unwrap().0, expected, "{}", spec.name);
            let source = tensors.iter().find(|tensor| tensor.name == spec.name).unwrap().f32s();
            let mut stored = vec![0.0_f32; spec.len()];
            base.tensor(id).copy_into(&mut stored);
            for (source, stored) in source.into_iter().zip(stored) {
                let rounded = match expected {
                    Dtype::F16 => half::f16::from_f32(source).to_f32(),
                    Dtype::Bf16 => half::bf16::from_f32(source).to_f32(),
                    _ => source,
                };
                assert_eq!(stored, rounded, "{}", spec.name);
            }
        }
    }
}

/// Catches: kernels that are not stored as a byte a value, codes or scales of other rows or tensors, and vectors that are quantised, too.
#[test]
fn int8_weights_are_a_byte_a_value() {
    let (folder, tensors) = prepare();
    let bytes = support::serialise(&tensors);
    let (half, _) = import_bytes(folder.path(), "half", &bytes, Dtype::F16);
    let (report, base) = import_bytes(folder.path(), "int8", &bytes, WeightsType::Int8);
    assert!(report.id != half.id && report.detected.tensors == half.detected.tensors);
    let (mut kernels, mut rows) = (0, 0);
    for (id, spec) in base.network().tensors() {
        let source = tensors.iter().find(|tensor| tensor.name == spec.name).unwrap().f32s();
        let (mut stored, mut expected) = (vec![f32::NAN; spec.len()], source.clone());
        base.tensor(id).copy_into(&mut stored);
        assert_eq!(base.tensor(id).floats().is_none(), spec.shape.len() > 1, "{}", spec.name);
        if spec.shape.len() > 1 {
            let QuantisedRows { codes, scales } = QuantisedRows::of(&source, spec.shape[0]);
            TensorView::int8(&codes, &scales).copy_into(&mut expected);
            (kernels, rows) = (kernels + spec.len(), rows + spec.shape[0]);
        }
        assert_eq!(stored, expected, "{}", spec.name);
    }
    let saved = half.bytes - report.bytes;
    let names_of_scales = 200 * base.network().tensors.len();
    assert!(saved as usize + names_of_scales > kernels - size_of::<f32>() * rows, "{saved} bytes fewer than in f16");
}

/// Catches: a manifest that forgets where the weights came from, or weights that anybody may write to.
#[test]
fn the_folder_says_where_it_comes_from() {
    let (folder, tensors) = prepare();
    let (weights, labels) = (folder.path().join("net.pth"), folder.path().join("labels.txt"));
    let out = folder.path().join("models").join("mine");
    fs::write(&weights, torch::legacy(&torch::entries(&tensors))).unwrap();
    let request = ImportRequest::new(&weights, &out).of("efficientnet-tiny", &labels);
    import(&request.with_source("a friend").with_licence("CC0-1.0")).unwrap();
    let base = Base::open(&out).unwrap();
    let origin = &base.manifest().origin;
    assert_eq!(
        (origin.source.as_str(), origin.licence.as_str(), origin.file.as_str()),
        ("a friend", "CC0-1.0", "net.pth")
    );
    assert_eq!(base.manifest().name, "mine");
    let notice = fs::read_to_string(out.join("NOTICE")).unwrap();
    assert!(notice.contains("a friend") && notice.contains("CC0-1.0"), "{notice}");
    assert!(fs::metadata(out.join("weights.safetensors")).unwrap().permissions().readonly());
    assert_eq!(fs::read_dir(out.parent().unwrap()).unwrap().count(), 1, "nothing else is left beside the model");
}
