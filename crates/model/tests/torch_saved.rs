//! Tests of checkpoints that torch itself wrote: `tests/data/checkpoints`, made by `tests/peers/checkpoints.py`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read its data has failed")]

mod support;

use fieldfit_model::Base;
use fieldfit_model::import::{Averages, Format, ImportReport};
use fieldfit_tests::message;
use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use support::Workshop;

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(path)
}

fn checkpoint(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(data(&format!("checkpoints/{name}.pth.gz"))).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn import(name: &str, averages: Averages) -> (ImportReport, Base) {
    let shop = Workshop::new();
    let path = shop.write(&format!("{name}.pth"), checkpoint(name));
    let imported = shop.import_path(&path, |request| request.averages = averages);
    imported.unwrap_or_else(|error| panic!("{name}: {}", message(&error)))
}

/// Each tensor has its own number, `scale` times its line in the list of names.
fn assert_numbers(name: &str, base: &Base, scale: f32) {
    let names = fs::read_to_string(data("names/vit-micro.txt")).unwrap();
    let params = base.params::<f32>();
    for (number, line) in (1..).zip(names.lines()) {
        let tensor = line.split(' ').next().unwrap();
        let values = &params[base.network().find(tensor).unwrap()];
        assert!(values.iter().all(|&value| value == scale * number as f32), "{name}: {tensor} is {:?}", &values[..1]);
    }
}

/// Catches: a sound checkpoint that is refused for its name's length, its age, what lies beside the weights, where they lie
/// or how; and one of which a tensor gets another's values.
#[test]
fn what_torch_saves_is_imported() {
    for (name, format, wrapper, prefix) in [
        ("checkpoint_epoch_0010", Format::TorchZip, None, ""),
        ("timm_saver", Format::TorchZip, Some("state_dict"), ""),
        ("legacy", Format::TorchLegacy, Some("state_dict"), ""),
        ("lightning", Format::TorchZip, Some("state_dict"), "net."),
        ("weight_averaging", Format::TorchZip, None, "module."),
        ("large_numbers", Format::TorchZip, Some("state_dict"), ""),
        ("views", Format::TorchZip, None, ""),
    ] {
        let (report, base) = import(name, Averages::Prefer);
        assert_eq!((report.format, report.wrapper.as_deref()), (format, wrapper), "{name}");
        assert_eq!(report.detected.prefix, prefix, "{name}");
        assert_numbers(name, &base, 1.0);
    }
}

/// Catches: the weights of timm's checkpoint that are taken where their average was asked for, or the reverse.
#[test]
fn timms_average_is_preferred() {
    for name in ["averaged", "timm_checkpoint_saver"] {
        for (averages, wrapper, scale) in
            [(Averages::Prefer, "state_dict_ema", 2.0), (Averages::Ignore, "state_dict", 1.0)]
        {
            let (report, base) = import(name, averages);
            assert_eq!(report.wrapper.as_deref(), Some(wrapper), "{name}");
            assert_numbers(wrapper, &base, scale);
        }
    }
}

/// Catches: a program or a quantised network that is called damaged, or that isn't told what to do.
#[test]
fn what_holds_no_plain_weights_is_told_what_to_do() {
    for (name, words) in [
        ("whole_module", "a pickled module of class `__main__.Net`"),
        ("torch_script", "torch.jit.load(FILE"),
        ("quantised", "`head.weight`: expected a tensor, found a quantised tensor: save the network before"),
        ("distributed", "save tensor.full_tensor() of a distributed one (DTensor)"),
        ("two_networks", "leave one out, with `--drop 'model.*'` or `--drop 'model_ema.*'`"),
    ] {
        let text = Workshop::new().refusal(&checkpoint(name));
        assert!(text.contains(words), "{name}: {text}");
    }
}
