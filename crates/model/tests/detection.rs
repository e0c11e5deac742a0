//! Tests of architecture detection: key mappings, prefixes, with and without a head, and the message about a checkpoint
//! that matches none.
//!
//! `tests/data/names` has the names and shapes as timm and transformers save them.
#![allow(clippy::unwrap_used, reason = "a test that cannot prepare its files has failed")]

mod support;

use fieldfit_model::import::{ImportReport, ImportRequest, import, published_preprocessing};
use fieldfit_model::{Base, ModelError};
use fieldfit_nets::{Network, by_name};
use fieldfit_tests::{message, tiny};
use safetensors::Dtype;
use std::fs;
use std::path::{Path, PathBuf};
use support::{Tensor, find, read_tensors, serialise, torch};
use tempfile::TempDir;
use zip::CompressionMethod;

/// A place for checkpoints and what becomes of them.
struct Field {
    folder: TempDir,
}

impl Field {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The tensors of an `efficientnet-tiny`.
    fn tiny(&self) -> Vec<Tensor> {
        tiny::checkpoint(&self.path("tiny.safetensors"), 3);
        read_tensors(&self.path("tiny.safetensors"))
    }

    fn labels(&self, classes: usize) -> PathBuf {
        let path = self.path("labels.txt");
        fs::write(&path, (0..classes).map(|class| format!("thing {class}\n")).collect::<String>()).unwrap();
        path
    }

    /// Imports whatever network these bytes are.
    fn import(&self, bytes: &[u8], classes: Option<usize>) -> Result<(ImportReport, Base), ModelError> {
        let (weights, out) = (self.path("weights.bin"), self.path("out"));
        fs::write(&weights, bytes).unwrap();
        let labels = classes.map(|classes| self.labels(classes));
        let report = import(&ImportRequest::new(&weights, &out).with_labels(labels.as_deref()))?;
        let base = Base::open(&out).unwrap();
        fs::remove_dir_all(&out).unwrap();
        Ok((report, base))
    }

    fn refused(&self, tensors: &[Tensor]) -> String {
        message(&self.import(&serialise(tensors), Some(10)).unwrap_err())
    }
}

/// Names and shapes as a library saves them, with f16 values: each tensor's own number, from 1.
fn saved(name: &str) -> Vec<Tensor> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/data/names/{name}.txt"));
    let text = fs::read_to_string(path).unwrap();
    let mut number = 0.0;
    let tensor = |line: &str| {
        let mut words = line.split(' ');
        let name = words.next().unwrap().to_owned();
        let shape: Vec<usize> = words.map(|word| word.parse().unwrap()).collect();
        number += f32::from(!name.ends_with("num_batches_tracked"));
        numbered(name, shape, number)
    };
    text.lines().map(tensor).collect()
}

fn numbered(name: String, shape: Vec<usize>, number: f32) -> Tensor {
    let bytes = half::f16::from_f32(number).to_le_bytes().repeat(shape.iter().product());
    Tensor { name, dtype: Dtype::F16, shape, bytes }
}

/// Zeros under the names of an architecture's own.
fn own(network: &Network) -> Vec<Tensor> {
    network.tensors().map(|(_, spec)| numbered(spec.name.clone(), spec.shape.clone(), 0.0)).collect()
}

/// The number that a tensor of ours is filled with.
fn number(base: &Base, name: &str, index: usize) -> f32 {
    let id = base.network().find(name).unwrap();
    let mut values = vec![0.0_f32; base.network().tensor(id).len()];
    base.tensor(id).copy_into(&mut values);
    values[index]
}

/// Catches: a tensor that goes to another's place: timm saves in the order of the forward pass, which is ours.
#[test]
fn timms_names_are_understood() {
    for (name, architecture) in [("timm-mobilenetv2", "mobilenetv2"), ("timm-efficientnet-lite1", "efficientnet-lite1")]
    {
        let (report, base) = Field::new().import(&serialise(&saved(name)), Some(1000)).unwrap();
        assert_eq!((report.detected.architecture, report.detected.naming), (architecture, "timm's"));
        for (position, (_, spec)) in base.network().tensors().enumerate() {
            assert_eq!(number(&base, &spec.name, 0), (position + 1) as f32, "{}", spec.name);
        }
        assert_eq!(report.ignored.len() + base.network().tensors.len(), saved(name).len());
    }
}

/// Catches: a described architecture that its weights alone do not tell, under either library's names, behind a prefix and under
/// another head; a tensor that goes to another's place; a folder without the description.
#[test]
fn described_architectures_are_imported_by_their_weights() {
    for (name, architecture, naming, head) in [
        ("timm-mobilenetv3-small", "mobilenetv3-small", "timm's", "classifier"),
        ("torchvision-efficientnet-b0", "efficientnet-b0", "torchvision's", "classifier.1"),
    ] {
        let mut tensors = saved(name);
        let (report, base) = Field::new().import(&serialise(&tensors), Some(1000)).unwrap();
        assert_eq!((report.detected.architecture, report.detected.naming), (architecture, naming));
        assert!(base.network().shapes(96, 160).is_ok());
        let checked = base.network().tensors().filter(|(_, spec)| !spec.is_empty());
        for (_, spec) in checked {
            assert_eq!(number(&base, &spec.name, 0), numbered_as(&tensors, &spec.name), "{}", spec.name);
        }
        for tensor in &mut tensors {
            if tensor.name.starts_with(head) {
                tensor.shape[0] = 7;
                tensor.bytes = half::f16::ONE.to_le_bytes().repeat(tensor.shape.iter().product());
            }
            tensor.name = format!("module.{}", tensor.name);
        }
        let (report, base) = Field::new().import(&serialise(&tensors), Some(7)).unwrap();
        assert_eq!((report.detected.architecture, report.classes), (architecture, 7));
        assert_eq!((base.network().head.classes, report.detected.prefix.as_str()), (7, "module."));
    }
}

/// The number that a tensor of theirs is filled with.
fn numbered_as(tensors: &[Tensor], name: &str) -> f32 {
    let mut numbered = tensors.iter().filter(|tensor| !tensor.name.ends_with("num_batches_tracked"));
    (numbered.position(|tensor| tensor.name == name).unwrap() + 1) as f32
}

/// Own tensors of an architecture, each filled with its own number, from 1.
fn own_numbered(architecture: &str) -> Vec<Tensor> {
    let network = by_name(architecture).unwrap();
    let tensors = network.tensors().filter(|(_, spec)| !spec.is_empty()).enumerate();
    tensors.map(|(index, (_, spec))| numbered(spec.name.clone(), spec.shape.clone(), (index + 1) as f32)).collect()
}

/// Catches: a class token without the position that its authors' and transformers' files have for it, positions of patches that
/// move by one, registers that are lost.
#[test]
fn registers_under_other_names_are_understood() {
    let mut authors = own_numbered("dinov2-small-reg4");
    for tensor in &mut authors {
        if tensor.name == "reg_token" {
            tensor.name = "register_tokens".to_owned();
        } else if tensor.name == "pos_embed" {
            *tensor = numbered(tensor.name.clone(), vec![1, 1370, 384], 7.0);
        }
        tensor.name = format!("backbone.{}", tensor.name);
    }
    let mut transformers = saved("transformers-dinov2-small");
    transformers.push(numbered("embeddings.register_tokens".to_owned(), vec![1, 4, 384], 9.0));
    for (tensors, naming, [token, registers, positions]) in [
        (authors, "the architecture's own", ["backbone.cls_token", "backbone.register_tokens", "backbone.pos_embed"]),
        (
            transformers,
            "transformers'",
            ["embeddings.cls_token", "embeddings.register_tokens", "embeddings.position_embeddings"],
        ),
    ] {
        let value = |name: &str| {
            let tensor = tensors.iter().find(|tensor| tensor.name == name).unwrap();
            half::f16::from_le_bytes([tensor.bytes[0], tensor.bytes[1]]).to_f32()
        };
        let (report, base) = Field::new().import(&serialise(&tensors), None).unwrap();
        assert_eq!((report.detected.architecture, report.detected.naming), ("dinov2-small-reg4", naming));
        assert_eq!(number(&base, "cls_token", 0), value(token) + value(positions));
        assert_eq!(number(&base, "pos_embed", 1369 * 384 - 1), value(positions));
        assert_eq!(number(&base, "reg_token", 0), value(registers));
    }
}

/// Catches: a distilled network whose answers are those of one of its heads, or whose two heads are exchanged.
#[test]
fn two_heads_of_a_distilled_network_become_one() {
    let mut tensors = own_numbered("deit-tiny-distilled");
    tensors.retain(|tensor| !tensor.name.starts_with("head."));
    for (head, value) in [("head", 3.0), ("head_dist", 5.0)] {
        tensors.push(numbered(format!("{head}.weight"), vec![1000, 192], value));
        tensors.push(numbered(format!("{head}.bias"), vec![1000], value + 1.0));
    }
    let (report, base) = Field::new().import(&serialise(&tensors), Some(1000)).unwrap();
    assert_eq!((report.detected.architecture, report.classes), ("deit-tiny-distilled", 1000));
    assert_eq!([0, 191, 192, 383, 384].map(|index| number(&base, "head.weight", index)), [1.5, 1.5, 2.5, 2.5, 1.5]);
    assert_eq!(number(&base, "head.bias", 999), 5.0);
}

/// Catches: queries, keys and values in another order, or a branch's norm under the other's name.
#[test]
fn transformers_vits_are_understood() {
    let tensors = saved("transformers-deit-tiny");
    let (report, base) = Field::new().import(&serialise(&tensors), Some(1000)).unwrap();
    let detected = report.detected;
    assert_eq!((detected.architecture, detected.naming), ("deit-tiny", "transformers'"));
    let layer = "vit.encoder.layer.3";
    for (ours, index, name) in [
        ("blocks.3.attn.qkv.weight", 0, format!("{layer}.attention.attention.query.weight")),
        ("blocks.3.attn.qkv.weight", 192 * 192, format!("{layer}.attention.attention.key.weight")),
        ("blocks.3.attn.qkv.bias", 2 * 192, format!("{layer}.attention.attention.value.bias")),
        ("blocks.3.norm2.bias", 0, format!("{layer}.layernorm_after.bias")),
        ("blocks.3.mlp.fc2.weight", 0, format!("{layer}.output.dense.weight")),
    ] {
        assert_eq!(number(&base, ours, index), numbered_as(&tensors, &name), "{ours}");
    }
    let (report, base) = Field::new().import(&serialise(&saved("transformers-dinov2-small")), None).unwrap();
    assert_eq!((report.detected.architecture, report.classes), ("dinov2-small", 0));
    assert!(base.network().is_headless());
    assert_eq!(report.ignored, ["embeddings.mask_token"]);
}

/// Catches: DeiT-S under ViT-S's preprocessing, or the other way round, because their tensors are the same.
#[test]
fn networks_of_the_same_tensors_are_told_apart_by_name() {
    let field = Field::new();
    let (folder, out) = (field.path("hub"), field.path("out"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("model.safetensors"), serialise(&own(&by_name("vit-small").unwrap()))).unwrap();
    let labels = field.labels(1000);
    let request = ImportRequest::new(&folder, &out).with_labels(Some(&labels));
    let error = import(&request).unwrap_err();
    assert!(message(&error).contains("fits deit-small and vit-small alike"), "{error}");
    for (config, architecture) in
        [("{\"architecture\": \"vit_small_patch16_224\"}", "vit-small"), ("{\"model_type\": \"deit\"}", "deit-small")]
    {
        fs::write(folder.join("config.json"), config).unwrap();
        let report = import(&request).unwrap();
        assert_eq!(report.detected.architecture, architecture);
        assert_eq!(report.preprocessing, published_preprocessing(architecture));
        fs::remove_dir_all(&out).unwrap();
    }
}

/// Catches: a projection that goes to the block's own convolution, the classifier under another's name.
#[test]
fn transformers_resnets_are_understood() {
    let tensors = saved("transformers-resnet18");
    let theirs = |name: &str| numbered_as(&tensors, name);
    let (report, base) = Field::new().import(&serialise(&tensors), Some(1000)).unwrap();
    let detected = report.detected;
    assert_eq!((detected.architecture, detected.naming), ("resnet18", "transformers'"));
    assert_eq!(detected.prefix, "resnet.");
    for (ours, name) in [
        ("conv1.weight", "resnet.embedder.embedder.convolution.weight"),
        ("layer1.1.bn2.bias", "resnet.encoder.stages.0.layers.1.layer.1.normalization.bias"),
        ("layer3.0.downsample.0.weight", "resnet.encoder.stages.2.layers.0.shortcut.convolution.weight"),
        ("layer3.0.downsample.1.running_var", "resnet.encoder.stages.2.layers.0.shortcut.normalization.running_var"),
        ("fc.bias", "classifier.1.bias"),
    ] {
        assert_eq!(number(&base, ours, 0), theirs(name), "{ours}");
    }
}

/// Catches: a prefix that is kept, an entry beside the weights that is taken for one of them, either without a word.
#[test]
fn wrappers_are_taken_off() {
    let field = Field::new();
    let mut tensors = field.tiny();
    let (_, expected) = field.import(&serialise(&tensors), Some(10)).unwrap();
    tensors.iter_mut().for_each(|tensor| tensor.name = format!("module.model.{}", tensor.name));
    let (report, base) = field.import(&serialise(&tensors), Some(10)).unwrap();
    assert_eq!((report.detected.prefix.as_str(), base.id()), ("module.model.", expected.id()));

    let entries = torch::entries(&field.tiny());
    let state = torch::state(&entries, false);
    let mut wrapped = b"\x80\x02}(".to_vec();
    torch::text(&mut wrapped, "epoch");
    wrapped.extend(b"K\x07");
    torch::text(&mut wrapped, "state_dict");
    wrapped.extend(&state[2..state.len() - 1]);
    wrapped.extend(b"u.");
    let file = torch::zip_around(&wrapped, &entries, CompressionMethod::Stored);
    let (report, base) = field.import(&file, Some(10)).unwrap();
    assert_eq!((report.wrapper.as_deref(), base.id()), (Some("state_dict"), expected.id()));
}

/// Catches: a backbone that is refused for want of a head, or one under labels that nothing tells apart.
#[test]
fn a_backbone_without_a_head_is_a_base() {
    let field = Field::new();
    let mut tensors = field.tiny();
    let error = field.import(&serialise(&tensors), None).unwrap_err();
    assert!(matches!(error, ModelError::Unlabelled { expected: 10, .. }), "{error:?}");
    tensors.retain(|tensor| !tensor.name.starts_with("_fc."));
    let error = field.import(&serialise(&tensors), Some(10)).unwrap_err();
    assert!(matches!(error, ModelError::Labels { expected: 0, found: 10, .. }), "{error:?}");
    let (report, base) = field.import(&serialise(&tensors), None).unwrap();
    assert_eq!((report.classes, report.detected.tensors), (0, tensors.len()));
    assert!(base.network().is_headless() && base.labels().is_empty());
    let network = base.network().with_classes(7);
    assert_eq!(network.tensor(network.head.weight).shape, [7, 48]);
}

/// Catches: another network's message: the nearest is named, and each difference with what was expected and found.
#[test]
fn what_fits_nothing_is_compared_with_the_nearest() {
    let field = Field::new();
    let network = by_name("mobilenetv2").unwrap();
    let text = field.refused(&{
        let mut tensors = own(&network);
        tensors.retain(|tensor| !tensor.name.starts_with("features.2."));
        tensors
    });
    for expected in
        ["weights.bin", "nearest is mobilenetv2", "`features.2.conv.0.0.weight` of shape [96, 16, 1, 1] is missing"]
    {
        assert!(text.contains(expected), "{text}");
    }
    let text = field.refused(&{
        let mut tensors = own(&network);
        find(&mut tensors, "classifier.1.weight").shape.reverse();
        tensors
    });
    assert!(text.contains("`classifier.1.weight` has shape [1280, 1000] in place of [1000, 1280]"), "{text}");
    let text = field.refused(&{
        let mut tensors = own(&network);
        tensors.push(numbered("aux.weight".into(), vec![3, 3], 0.0));
        tensors
    });
    assert!(text.contains("1 tensors differ; `aux.weight` of shape [3, 3] has no place in it; leave"), "{text}");
    let wide = own(&by_name("resnet18").unwrap()).into_iter().map(|mut tensor| {
        tensor.shape[0] *= 2;
        tensor.bytes = tensor.bytes.repeat(2);
        tensor
    });
    let text = field.refused(&wide.collect::<Vec<_>>());
    assert!(text.contains("`conv1.weight` has shape [128, 3, 7, 7] in place of [64, 3, 7, 7]"), "{text}");
}

/// Catches: a file that is refused because its tensors are of several types, or values that are read as another type.
#[test]
fn half_of_the_tensors_may_be_in_half_precision() {
    let field = Field::new();
    let mut tensors = field.tiny();
    let (_, expected) = field.import(&serialise(&tensors), Some(10)).unwrap();
    for tensor in tensors.iter_mut().filter(|tensor| tensor.shape.len() > 1).step_by(2) {
        let narrow = |value: f32| half::f16::from_f32(value).to_le_bytes();
        tensor.bytes = tensor.f32s().into_iter().flat_map(narrow).collect();
        tensor.dtype = Dtype::F16;
    }
    let (_, base) = field.import(&serialise(&tensors), Some(10)).unwrap();
    assert_eq!(base.id(), expected.id());
}

/// Catches: a folder whose configuration isn't looked at, or one that is taken for the weights.
#[test]
fn a_folder_brings_its_configuration() {
    let field = Field::new();
    let (folder, out) = (field.path("hub"), field.path("out"));
    fs::create_dir(&folder).unwrap();
    let error = import(&ImportRequest::new(&folder, &out)).unwrap_err();
    assert!(message(&error).contains("model.safetensors"), "{error}");
    fs::write(folder.join("model.safetensors"), serialise(&field.tiny())).unwrap();
    let names: Vec<String> = (0..10).map(|class| format!("\"{class}\": \"c{class}\"")).collect();
    fs::write(folder.join("config.json"), format!("{{\"id2label\": {{{}}}}}", names.join(", "))).unwrap();
    fs::write(folder.join("preprocessor_config.json"), "{\"image_mean\": [0, 0, 0], \"size\": 48}").unwrap();
    let report = import(&ImportRequest::new(&folder, &out)).unwrap();
    let base = Base::open(&out).unwrap();
    assert_eq!(base.labels()[9], "c9");
    let published = published_preprocessing("efficientnet-tiny");
    assert_eq!(
        (base.preprocessing().size, base.preprocessing().mean, base.preprocessing().std),
        (48, [0.0; 3], published.std)
    );
    assert_eq!(report.config, Some(folder.join("preprocessor_config.json")));
    fs::remove_dir_all(&out).unwrap();
    fs::write(folder.join("config.json"), "{").unwrap();
    let error = import(&ImportRequest::new(&folder, &out)).unwrap_err();
    assert!(message(&error).contains("invalid JSON in"), "{error}");
}
