//! Tests of invalid checkpoints: each is rejected, and leaves no file behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot prepare its files has failed")]

mod support;

use fieldfit_model::ModelError;
use fieldfit_model::import::{CheckpointError, ImportRequest, PickleProblem, import};
use fieldfit_tensor::Dtype;
use fieldfit_tests::{message, tiny};
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use support::torch::{self, Entry};
use support::{Tensor, find, read_tensors, serialise};
use tempfile::TempDir;
use zip::CompressionMethod;

struct Field {
    folder: TempDir,
    tensors: Vec<Tensor>,
}

impl Field {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        tiny::base(folder.path(), 3);
        let tensors = read_tensors(&folder.path().join("tiny-3.safetensors"));
        Self { folder, tensors }
    }

    fn edited(&self, edit: impl FnOnce(&mut Vec<Tensor>)) -> Vec<u8> {
        let mut tensors = self.tensors.clone();
        edit(&mut tensors);
        serialise(&tensors)
    }

    /// Imports a checkpoint of these bytes; if it is refused, no trace may be left.
    fn import(&self, bytes: &[u8]) -> Result<(), ModelError> {
        self.import_as("efficientnet-tiny", Dtype::F16, bytes)
    }

    fn import_as(&self, architecture: &str, dtype: Dtype, bytes: &[u8]) -> Result<(), ModelError> {
        let (weights, labels) = (self.folder.path().join("weights.bin"), self.folder.path().join("labels.txt"));
        let out = self.folder.path().join("out");
        fs::write(&weights, bytes).unwrap();
        let before = names(self.folder.path());
        let request = ImportRequest::new(&weights, &out).of(architecture, &labels).with_dtype(dtype);
        let result = import(&request);
        match &result {
            Ok(_) => fs::remove_dir_all(&out).unwrap(),
            Err(error) => assert!(message(error).contains("weights.bin") || message(error).contains("labels.txt")),
        }
        assert_eq!(names(self.folder.path()), before);
        result.map(drop)
    }

    fn problem(&self, bytes: &[u8]) -> CheckpointError {
        match self.import(bytes).unwrap_err() {
            ModelError::Checkpoint { source, .. } => *source,
            other => panic!("{other:?}"),
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

/// Catches: `os.system` in a checkpoint: a reader that calls what a pickle names runs whatever its author likes.
#[test]
fn a_pickle_that_names_anything_else_is_refused_by_name() {
    let field = Field::new();
    let mut by_stack = b"\x80\x04".to_vec();
    for word in ["os", "system"] {
        by_stack.extend([0x8c, word.len() as u8]);
        by_stack.extend(word.bytes());
    }
    by_stack.extend(b"\x93X\x02\0\0\0ls\x85R.");
    for (pickle, expected) in [
        (b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.".to_vec(), "os.system"),
        (by_stack, "os.system"),
        (b"\x80\x02cbuiltins\neval\nX\x01\0\0\x001\x85R.".to_vec(), "builtins.eval"),
        (b"\x80\x02ctorch\nload\n.".to_vec(), "torch.load"),
        (b"\x80\x02ccollections\nOrderedDict.__reduce__\n.".to_vec(), "collections.OrderedDict.__reduce__"),
    ] {
        for file in [torch::legacy_around(&pickle, &[]), torch::zip_around(&pickle, &[], CompressionMethod::Stored)] {
            let error = field.import(&file).unwrap_err();
            assert!(message(&error).contains(&format!("`{expected}`")), "{}", message(&error));
        }
    }
}

/// Catches: an instruction that builds objects of any class, by a road that doesn't pass the list of names.
#[test]
fn opcodes_that_build_objects_are_refused() {
    let field = Field::new();
    for pickle in
        [b"\x80\x02(ios\nsystem\n.".as_slice(), b"\x80\x02(cos\nsystem\no.", b"\x80\x02\x82\x01.", b"\x80\x02P1\n."]
    {
        let problem = field.problem(&torch::legacy_around(pickle, &[]));
        assert!(
            matches!(
                problem,
                CheckpointError::Pickle { problem: PickleProblem::Opcode(_) | PickleProblem::Global(_), .. }
            ),
            "{problem:?}"
        );
    }
}

/// Catches: calls with other arguments than torch's, stacks that run dry, memo entries that aren't there.
#[test]
fn pickles_that_make_no_sense_are_refused() {
    let field = Field::new();
    for pickle in [
        b"\x80\x02.".as_slice(),
        b"\x80\x02)\x81.",
        b"\x80\x02K\x01)\x81.",
        b"\x80\x02N.",
        b"\x80\x02}(X\x01\0\0\0au.",
        b"\x80\x02}(K\x01K\x02u.",
        b"\x80\x02}X\x01\0\0\0aK\x01s.",
        b"\x80\x02h\x07.",
        b"\x80\x02t.",
        b"\x80\x02\x85.",
        b"\x80\x02(0.",
        b"\x80\x02X\xff\xff\xff\xff.",
        b"\x80\x02X\x01\0\0\0\xff.",
        b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"\x80\x02K\x01)R.",
        b"\x80\x02]Nb.",
        b"\x80\x02)Q.",
        b"\x80\x02\x8a\xff.",
    ] {
        field.problem(&torch::legacy_around(pickle, &[]));
        field.problem(&torch::zip_around(pickle, &[], CompressionMethod::Stored));
    }
}

/// Catches: a pickle of a few bytes an entry that asks for gigabytes.
#[test]
fn a_pickle_may_not_grow_without_bound() {
    let field = Field::new();
    let nones = [b"\x80\x02".as_slice(), &vec![b'N'; 1 << 21], b"."].concat();
    too_large(&field, &nones);
    let long_tuple = [b"\x80\x02(".as_slice(), &vec![b'N'; 1 << 12], b"tq\x00h\x00Q."].concat();
    let problem = field.problem(&torch::legacy_around(&long_tuple, &[]));
    assert!(matches!(problem, CheckpointError::Pickle { problem: PickleProblem::Arguments(_), .. }), "{problem:?}");
}

/// Catches: a list that is appended to over and over, or marks on an empty stack: of a `data.pkl` of 64 MiB, which zip packs into
/// 64 kB, the list makes 2 GiB.
#[test]
fn what_a_pickle_holds_beside_its_stack_is_bounded() {
    let field = Field::new();
    let half = [b"(".as_slice(), &vec![b'N'; (1 << 19) + 1], b"e"].concat();
    too_large(&field, &[b"\x80\x02]".as_slice(), &half, &half, b"."].concat());
    too_large(&field, &[b"\x80\x02".as_slice(), &vec![b'('; 1 << 21], b"."].concat());
}

fn too_large(field: &Field, pickle: &[u8]) {
    let problem = field.problem(&torch::legacy_around(pickle, &[]));
    assert!(matches!(problem, CheckpointError::Pickle { problem: PickleProblem::TooLarge, .. }), "{problem:?}");
}

/// Catches: a tensor that reads its neighbour's values, or memory that isn't the file's.
#[test]
fn a_tensor_stays_in_its_storage() {
    let field = Field::new();
    let edits: [fn(&mut Entry); 5] = [
        |entry| entry.offset += 1,
        |entry| entry.offset = usize::MAX >> 1,
        |entry| entry.strides[0] += 1,
        |entry| entry.strides[0] = usize::MAX >> 1,
        |entry| entry.strides.push(1),
    ];
    for edit in edits {
        let mut entries = torch::entries(&field.tensors);
        let entry = entries.iter_mut().find(|entry| entry.name == "_conv_head.weight").unwrap();
        edit(entry);
        for file in [torch::legacy(&entries), torch::zip(&entries, CompressionMethod::Stored)] {
            let problem = field.problem(&file);
            assert!(
                matches!(&problem, CheckpointError::Outside { name, .. } if name == "_conv_head.weight"),
                "{problem:?}"
            );
        }
    }
}

/// Catches: a whole checkpoint of training state taken for weights, or a name that hides another.
#[test]
fn a_state_dict_holds_tensors_once() {
    let field = Field::new();
    let mut pickle = b"\x80\x02}(".to_vec();
    torch::text(&mut pickle, "epoch");
    pickle.extend(b"K\x05u.");
    let problem = field.problem(&torch::legacy_around(&pickle, &[]));
    assert!(matches!(&problem, CheckpointError::NotATensor { name, .. } if name == "epoch"), "{problem:?}");

    let mut entries = torch::entries(&field.tensors);
    entries.push(entries[0].clone());
    let name = entries[0].name.clone();
    let problem = field.problem(&torch::legacy(&entries));
    assert!(matches!(&problem, CheckpointError::Twice { name: n } if *n == name), "{problem:?}");
}

/// Catches: a checkpoint whose copy stopped anywhere: half of the weights of a model are no model.
#[test]
fn a_checkpoint_cut_short_is_refused() {
    let field = Field::new();
    let entries = torch::entries(&field.tensors);
    let pickles = torch::legacy(&entries).len() - entries.iter().map(|entry| entry.storage.len() + 8).sum::<usize>();
    for (file, dense) in [
        (torch::legacy(&entries), pickles),
        (torch::zip(&entries, CompressionMethod::Deflated), 0),
        (serialise(&field.tensors), 0),
    ] {
        for length in (0..dense).step_by(61).chain((dense..file.len()).step_by(997)).chain([file.len() - 1]) {
            let error = field.import(&file[..length]).unwrap_err();
            assert!(matches!(error, ModelError::Checkpoint { .. }), "{length} of {}: {error:?}", file.len());
        }
    }
}

/// Catches: storages that contradict the pickle: too long, too short, absent, of the other byte order.
#[test]
fn storages_are_what_the_pickle_says() {
    let field = Field::new();
    let entries = torch::entries(&field.tensors);

    let mut lying = entries.clone();
    lying[0].count = 1 << 40;
    let zip = torch::zip(&lying, CompressionMethod::Stored);
    assert!(matches!(field.problem(&zip), CheckpointError::StoragesLarge { .. }));
    assert!(matches!(field.problem(&torch::legacy(&lying)), CheckpointError::StorageCutShort { .. }));

    let mut bomb = entries.clone();
    bomb[0].storage = vec![0; 1 << 24];
    let zip = torch::zip(&bomb, CompressionMethod::Deflated);
    assert!(matches!(field.problem(&zip), CheckpointError::EntryLarge { .. }));

    let pickle = torch::state(&entries, false);
    let absent = torch::zip_around(&pickle, &entries[..3], CompressionMethod::Stored);
    assert!(matches!(field.problem(&absent), CheckpointError::EntryMissing { entry } if entry == "net/data/3"));

    let big = torch::archive(&[("data.pkl".into(), &pickle), ("byteorder".into(), b"big")], CompressionMethod::Stored);
    assert!(matches!(field.problem(&big), CheckpointError::BigEndian));
    let legacy = torch::legacy(&entries);
    let flag = legacy.windows(2).position(|pair| pair == b"\x88u").unwrap();
    let mut big = legacy.clone();
    big[flag] = 0x89;
    assert!(matches!(field.problem(&big), CheckpointError::BigEndian));

    let other = torch::archive(&[("model.json".into(), b"{}")], CompressionMethod::Stored);
    assert!(matches!(field.problem(&other), CheckpointError::EntryMissing { entry } if entry == "data.pkl"));
    assert!(matches!(field.problem(b""), CheckpointError::Empty));
    assert!(matches!(field.problem(b"GIF89a, which is no checkpoint"), CheckpointError::Format));
}

/// Catches: weights of another network, or values that the stored type can't hold.
#[test]
fn tensors_fit_architecture_and_type() {
    let field = Field::new();
    let missing = field.edited(|tensors| tensors.retain(|tensor| tensor.name != "_bn1.bias"));
    let error = field.import(&missing).unwrap_err();
    assert!(matches!(&error, ModelError::TensorMissing { name, .. } if name == "_bn1.bias"), "{error:?}");

    let extra = field.edited(|tensors| tensors.push(Tensor { name: "ema.weight".into(), ..tensors[0].clone() }));
    let error = field.import(&extra).unwrap_err();
    assert!(matches!(&error, ModelError::TensorExtra { name, .. } if name == "ema.weight"), "{error:?}");

    let shape = field.edited(|tensors| find(tensors, "_conv_stem.weight").shape = vec![8, 27]);
    let error = field.import(&shape).unwrap_err();
    assert!(matches!(&error, ModelError::TensorShape { name, .. } if name == "_conv_stem.weight"), "{error:?}");

    let whole = field.edited(|_| {});
    let error = field.import_as("efficientnet-lite0", Dtype::F16, &whole).unwrap_err();
    assert!(matches!(error, ModelError::TensorShape { .. } | ModelError::TensorMissing { .. }), "{error:?}");
    let unknown = field.folder.path().join("out");
    let (weights, labels) = (field.folder.path().join("weights.bin"), field.folder.path().join("labels.txt"));
    let error = import(&ImportRequest::new(&weights, &unknown).of("resnet-9000", &labels)).unwrap_err();
    assert!(
        matches!(&error, ModelError::UnknownArchitecture { known, .. } if known.contains(&"convnext-tiny")),
        "{error:?}"
    );

    let integers = field.edited(|tensors| find(tensors, "_fc.bias").dtype = safetensors::Dtype::I32);
    let error = field.import(&integers).unwrap_err();
    assert!(matches!(&error, ModelError::TensorDtype { name, .. } if name == "_fc.bias"), "{error:?}");

    for (value, dtype) in [(65_520.0_f32, Dtype::F16), (f32::MAX, Dtype::Bf16)] {
        let large = field.edited(|tensors| {
            find(tensors, "_conv_head.weight").bytes[20..24].copy_from_slice(&value.to_le_bytes());
        });
        let error = field.import_as("efficientnet-tiny", dtype, &large).unwrap_err();
        assert!(
            matches!(&error, ModelError::Overflow { name, index: 5, .. } if name == "_conv_head.weight"),
            "{error:?}"
        );
        field.import_as("efficientnet-tiny", Dtype::F32, &large).unwrap();
    }
    let nan =
        field.edited(|tensors| find(tensors, "_bn0.running_var").bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes()));
    let error = field.import(&nan).unwrap_err();
    assert!(matches!(&error, ModelError::NotFinite { name, index: 0, .. } if name == "_bn0.running_var"), "{error:?}");
}

/// Catches: an f64 that no f32 can hold and that becomes infinity unseen.
#[test]
fn doubles_are_narrowed_or_refused() {
    let field = Field::new();
    let widened = |scale: f64| {
        field.edited(|tensors| {
            let bias = find(tensors, "_fc.bias");
            bias.bytes = bias.f32s().iter().flat_map(|&value| (f64::from(value) * scale).to_le_bytes()).collect();
            bias.dtype = safetensors::Dtype::F64;
        })
    };
    field.import(&widened(1.0)).unwrap();
    let error = field.import(&widened(1e300)).unwrap_err();
    assert!(matches!(&error, ModelError::NotFinite { name, .. } if name == "_fc.bias"), "{error:?}");
}

/// Catches: labels of another model.
#[test]
fn labels_match_the_checkpoint() {
    let field = Field::new();
    fs::write(field.folder.path().join("labels.txt"), "cat\ndog\n").unwrap();
    let error = field.import(&field.edited(|_| {})).unwrap_err();
    assert!(matches!(error, ModelError::Labels { expected: 10, found: 2, .. }), "{error:?}");
}

/// Catches: an import over a model that is in use.
#[test]
fn an_existing_folder_is_left_alone() {
    let field = Field::new();
    let (weights, labels) = (field.folder.path().join("weights.bin"), field.folder.path().join("labels.txt"));
    fs::write(&weights, field.edited(|_| {})).unwrap();
    let out = field.folder.path().join("precious");
    fs::create_dir(&out).unwrap();
    let error = import(&ImportRequest::new(&weights, &out).of("efficientnet-tiny", &labels)).unwrap_err();
    assert!(matches!(&error, ModelError::Exists { path } if *path == out), "{error:?}");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Catches: a reader that panics on damage, or a file that is imported as something that doesn't open.
    #[test]
    fn no_damage_makes_a_reader_panic(kind in 0..3, places in prop::collection::vec((0.0..1.0_f64, any::<u8>()), 1..8)) {
        thread_local!(static FIELD: Field = Field::new());
        FIELD.with(|field| {
            let entries = torch::entries(&field.tensors);
            let mut file = match kind {
                0 => torch::legacy(&entries),
                1 => torch::zip(&entries, CompressionMethod::Stored),
                _ => serialise(&field.tensors),
            };
            // Half of the damage goes to the structure at the start, where it does most.
            for (index, (place, byte)) in places.into_iter().enumerate() {
                let span = if index % 2 == 0 { file.len() } else { file.len() / 4 };
                file[(place * span as f64) as usize] = byte;
            }
            let _ = field.import(&file);
        });
    }
}
