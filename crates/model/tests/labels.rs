//! Tests of a new base's labels: from a file or from `config.json`, under one rule.
#![allow(clippy::unwrap_used, reason = "a test that cannot prepare its files has failed")]

mod support;

use fieldfit_model::ModelError;
use fieldfit_model::import::{ImportRequest, import};
use fieldfit_tests::message;
use std::fs;
use support::{CLASSES, Workshop, serialise};

/// Names of as many classes as the checkpoint has.
fn names() -> Vec<String> {
    (0..CLASSES).map(|class| format!("thing {class}")).collect()
}

/// Imports under a labels file with these bytes.
fn labelled(shop: &Workshop, bytes: &[u8]) -> Result<(Vec<String>, Vec<String>), ModelError> {
    let (weights, labels) = (shop.write("weights.bin", serialise(&shop.tensors)), shop.write("theirs.txt", bytes));
    let imported = shop.import_path(&weights, |request| request.labels = Some(&labels));
    imported.map(|(report, base)| (base.labels().to_vec(), report.renamed_labels))
}

/// Catches: a mark that Windows' editors write taken for a part of the first class's name.
#[test]
fn a_byte_order_mark_is_no_part_of_a_name() {
    let shop = Workshop::new();
    let (labels, _) = labelled(&shop, format!("\u{feff}{}\r\n", names().join("\r\n")).as_bytes()).unwrap();
    assert_eq!(labels, names());
}

/// Catches: two classes of one name that are told apart in `config.json` and refused in a file, or told apart unsaid.
#[test]
fn classes_of_one_name_are_told_apart_whatever_their_source() {
    let shop = Workshop::new();
    let mut names = names();
    names[3] = names[1].clone();
    let mut expected = names.clone();
    expected[3] = "thing 1 (3)".to_owned();
    let (labels, renamed) = labelled(&shop, names.join("\n").as_bytes()).unwrap();
    assert_eq!((labels, renamed), (expected.clone(), vec![expected[3].clone()]));

    let (hub, out) = (shop.path("hub"), shop.path("out"));
    fs::create_dir(&hub).unwrap();
    fs::write(hub.join("model.safetensors"), serialise(&shop.tensors)).unwrap();
    fs::write(hub.join("config.json"), format!("{{\"label_names\": {names:?}}}")).unwrap();
    let report = import(&ImportRequest::new(&hub, &out)).unwrap();
    assert_eq!(report.renamed_labels, [expected[3].clone()]);
    assert_eq!(fieldfit_model::Base::open(&out).unwrap().labels(), expected);
}

/// Catches: a file in another encoding that is refused without its line, or read as other letters.
#[test]
fn other_encodings_are_refused_by_line() {
    let shop = Workshop::new();
    let mut latin: Vec<u8> = names().join("\n").into_bytes();
    let third = latin.iter().position(|&byte| byte == b'2').unwrap();
    latin[third] = 0xe4;
    let error = labelled(&shop, &latin).unwrap_err();
    assert!(
        matches!(error, ModelError::LabelEncoding { line: 3, found: "Latin-1 or another encoding", .. }),
        "{error:?}"
    );
    assert!(message(&error).contains("theirs.txt, line 3"), "{error}");
    let wide: Vec<u8> = format!("\u{feff}{}", names().join("\n")).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let error = labelled(&shop, &wide).unwrap_err();
    assert!(matches!(error, ModelError::LabelEncoding { line: 1, found: "UTF-16", .. }), "{error:?}");
}

/// Catches: a label that clears the screen or turns the line around, wherever it comes from; and one that prints so in its
/// own refusal.
#[test]
fn labels_that_act_on_a_terminal_are_refused() {
    let shop = Workshop::new();
    for (bad, shown) in [("a\u{1b}[2J", "a\\u{1b}[2J"), ("a\u{202e}b", "a\\u{202e}b"), ("a\tb", "a\\tb")] {
        let mut names = names();
        names[4] = bad.to_owned();
        let error = labelled(&shop, names.join("\n").as_bytes()).unwrap_err();
        assert!(matches!(&error, ModelError::Label { line: 5, .. }), "{error:?}");
        assert!(message(&error).contains(&format!("`{shown}`")), "{error}");

        let hub = shop.path(&format!("hub{}", bad.len()));
        fs::create_dir_all(&hub).unwrap();
        fs::write(hub.join("model.safetensors"), serialise(&shop.tensors)).unwrap();
        fs::write(hub.join("config.json"), serde_json::json!({ "label_names": names }).to_string()).unwrap();
        let error = import(&ImportRequest::new(&hub, &shop.path("out"))).unwrap_err();
        assert!(matches!(&error, ModelError::Label { line: 5, .. }), "{error:?}");
        fs::remove_dir_all(hub).unwrap();
    }
}
