//! Tests of checkpoints as training programs write them: weights beside arguments, averages and states, under
//! wrappers, in parts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot prepare its files has failed")]

mod support;

use fieldfit_model::ModelError;
use fieldfit_model::import::{Averages, CheckpointError, Format};
use fieldfit_tests::message;
use std::fs;
use std::path::Path;
use support::torch::{self, Entry};
use support::{Tensor, Workshop, find, serialise};
use zip::CompressionMethod;

/// Makes the code of a tensor, which is a view of the storage of that number.
type Rebuild<'a> = &'a dyn Fn(&Entry, usize) -> Vec<u8>;

/// The code of `module.name(arguments)`, where the arguments are the code of a tuple.
fn call(module: &str, name: &str, arguments: &[u8]) -> Vec<u8> {
    [format!("c{module}\n{name}\n").as_bytes(), arguments, b"R"].concat()
}

/// The code of an object of a class, with attributes, made as protocol 2 makes it.
fn object(module: &str, class: &str) -> Vec<u8> {
    let mut code = [format!("c{module}\n{class}\n").as_bytes(), b")\x81}"].concat();
    torch::text(&mut code, "lr");
    code.extend(b"G?\xb9\x99\x99\x99\x99\x99\x9asb");
    code
}

/// Catches: a sound archive that is called damaged because of the length of its inner name, or because of an archive inside
/// of it.
#[test]
fn archives_are_read_whatever_their_inner_names() {
    let shop = Workshop::new();
    let entries = torch::entries(&shop.tensors);
    let state = torch::state(&entries, false);
    let (_, expected) = shop.import(&serialise(&shop.tensors)).unwrap();
    let inner = torch::torch_archive("inner", &[("data.pkl".into(), &state)]);
    for length in (1..=40).chain([100, 1000]) {
        let mut files = torch::files(&state, &entries);
        files.push((".data/sample_inputs.pt".into(), &inner));
        let (report, base) = shop.import(&torch::torch_archive(&"x".repeat(length), &files)).unwrap();
        assert_eq!((report.format, base.id()), (Format::TorchZip, expected.id()), "{length}");
    }
}

/// Catches: an exported program whose state dict, an archive of its own, is not found or called damaged.
#[test]
fn the_state_dict_of_an_exported_program_is_taken() {
    let shop = Workshop::new();
    let entries = torch::entries(&shop.tensors);
    let state = torch::state(&entries, false);
    let inner = torch::torch_archive("model", &torch::files(&state, &entries));
    let (_, expected) = shop.import(&serialise(&shop.tensors)).unwrap();
    for (stem, name) in [("model", "data/weights/model.pt"), ("", "serialized_state_dict.pt")] {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let path = format!("{stem}/{name}").trim_start_matches('/').to_owned();
            let files = [("archive_format".to_owned(), b"pt2".as_slice()), (path, &inner)];
            let (_, base) = shop.import(&torch::plain_archive(&files, method)).unwrap();
            assert_eq!(base.id(), expected.id(), "{name}");
        }
    }
    let files = [("m/archive_format".to_owned(), b"pt2".as_slice()), ("m/data/weights/weight_0".into(), b"raw")];
    let text = shop.refusal(&torch::plain_archive(&files, CompressionMethod::Stored));
    assert!(text.contains("torch.export.load(FILE)") && text.contains("torch.save(model.state_dict,"), "{text}");
}

/// Catches: a sound checkpoint that is refused for what lies beside its weights, or one whose weights it changes.
#[test]
fn plain_data_beside_the_weights_is_skipped() {
    let shop = Workshop::new();
    let entries = torch::entries(&shop.tensors);
    let state = torch::state(&entries, false);
    let (_, expected) = shop.import(&serialise(&shop.tensors)).unwrap();
    let dtype = [
        call("numpy", "dtype", b"(X\x02\0\0\0f8\x89\x88t"),
        b"(K\x03X\x01\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb".to_vec(),
    ]
    .concat();
    let bytes = call("_codecs", "encode", b"(X\x03\0\0\0abcX\x06\0\0\0latin1t");
    let scalar = [b"(".as_slice(), &dtype, &bytes, b"t"].concat();
    let list_of_pairs = b"(](](X\x01\0\0\0aK\x01e](X\x01\0\0\0bK\x02eet".as_slice();
    let moved = [b"(".as_slice(), b"cmy.project\nConfig\nN}t"].concat();
    for (what, code) in [
        ("an argparse namespace", object("argparse", "Namespace")),
        ("an object of the program's own class", object("my_project.config", "Config")),
        ("a class of the program", b"cmy_project.models\nNet\n".to_vec()),
        ("a numpy scalar", call("numpy._core.multiarray", "scalar", &scalar)),
        ("a scalar of an older numpy", call("numpy.core.multiarray", "scalar", &scalar)),
        ("a numpy array", call("numpy.core.multiarray", "_reconstruct", b"(cnumpy\nndarray\nK\0\x85C\x01bt")),
        ("a size", call("torch", "Size", b"(]t")),
        ("a device", call("torch", "device", b"(X\x03\0\0\0cput")),
        ("a type", b"ctorch\nfloat32\n".to_vec()),
        ("a layout", call("torch.serialization", "_get_layout", b"(X\x0d\0\0\0torch.stridedt")),
        ("a date", call("datetime", "datetime", b"(C\x0aabcdefghijt")),
        ("a path", call("pathlib", "PosixPath", b"(X\x04\0\0\0dataX\x01\0\0\0xt")),
        ("a set", call("builtins", "set", b"(](K\x01K\x02et")),
        ("a set of protocol 4", b"\x8f(K\x01K\x02\x90".to_vec()),
        ("a frozen set of protocol 4", b"(K\x01\x91".to_vec()),
        ("a complex number", call("builtins", "complex", b"(G\0\0\0\0\0\0\0\0G\0\0\0\0\0\0\0\0t")),
        ("a byte array", call("builtins", "bytearray", b"(X\0\0\0\0X\x06\0\0\0latin1t")),
        ("a counter", call("collections", "Counter", b"(}t")),
        ("a deque", [call("collections", "deque", b"(]K\x05t"), b"(K\x01K\x02e".to_vec()].concat()),
        ("a dictionary with a default", call("collections", "defaultdict", b"(cbuiltins\nlist\nt")),
        ("an ordered dictionary of Python 2", call("collections", "OrderedDict", list_of_pairs)),
        ("text of Python 2", b"U\x03a\xffb".to_vec()),
        ("a long number", b"\x8b\x04\0\0\0\x01\x02\x03\x04".to_vec()),
        (
            "a partial call",
            [call("functools", "partial", b"(cmy.project\nf\nt"), b"(cmy.project\nf\n)}Ntb".to_vec()].concat(),
        ),
        ("an object of an older protocol", call("copyreg", "_reconstructor", &moved)),
    ] {
        let pickle = torch::dictionary(&[("args", &code), ("state_dict", torch::code(&state)), ("epoch", b"K\x05")]);
        for file in [
            torch::zip_around(&pickle, &entries, CompressionMethod::Stored),
            torch::torch_archive("net", &torch::files(&pickle, &entries)),
        ] {
            let (report, base) = shop.import(&file).unwrap_or_else(|error| panic!("{what}: {}", message(&error)));
            assert_eq!((report.wrapper.as_deref(), base.id()), (Some("state_dict"), expected.id()), "{what}");
        }
    }
}

/// Catches: a call of the program's own code that is taken for data, and a refusal that doesn't name it or what to do.
#[test]
fn a_call_of_foreign_code_is_refused_by_name() {
    let shop = Workshop::new();
    let entries = torch::entries(&shop.tensors);
    let state = torch::state(&entries, false);
    for (code, words) in [
        (call("my_project", "load", b")"), "`my_project.load`"),
        (call("torch.storage", "_load_from_bytes", b"(C\x01xt"), "`torch.storage._load_from_bytes`"),
        (call("builtins", "getattr", b")"), "`builtins.getattr`"),
        (b"cos\nsystem\n".to_vec(), "`os.system`"),
        (b"csubprocess\nPopen\n)\x81".to_vec(), "`subprocess.Popen`"),
        (call("my\x1b[2J", "f", b")"), "`my\\u{1b}[2J.f`"),
    ] {
        let pickle = torch::dictionary(&[("args", &code), ("state_dict", torch::code(&state))]);
        let text = shop.refusal(&torch::zip_around(&pickle, &entries, CompressionMethod::Stored));
        assert!(text.contains(words) && text.contains("do not trust"), "{text}");
    }
}

/// Catches: a tensor that is read as its storage's type instead of its own, or refused for the way in which it was saved.
#[test]
fn tensors_are_rebuilt_in_every_way_of_torch() {
    let shop = Workshop::new();
    let (_, expected) = shop.import(&serialise(&shop.tensors)).unwrap();
    let entries = torch::entries(&shop.tensors);
    let storage = |entry: &Entry, key: usize, class: &str, count: usize| {
        let mut code = b"((".to_vec();
        torch::text(&mut code, "storage");
        code.extend(format!("{class}\n").bytes());
        torch::text(&mut code, &key.to_string());
        torch::text(&mut code, "cpu");
        torch::number(&mut code, count);
        code.extend(b"tQ");
        torch::number(&mut code, entry.offset);
        torch::numbers(&mut code, &entry.shape);
        torch::numbers(&mut code, &entry.strides);
        code
    };
    let float = |entry: &Entry, key| storage(entry, key, "ctorch\nFloatStorage", entry.count);
    let typed = |entry: &Entry, key| {
        let code = storage(entry, key, "ctorch.storage\nUntypedStorage", entry.storage.len());
        [code.as_slice(), b"\x89ccollections\nOrderedDict\n)Rctorch\nfloat32\nt"].concat()
    };
    let flags = b"\x89ccollections\nOrderedDict\n)Rt".as_slice();
    let v2 = |entry: &Entry, key| call("torch._utils", "_rebuild_tensor_v2", &[&float(entry, key), flags].concat());
    let ways: [(&str, Rebuild<'_>); 5] = [
        ("of an old torch", &|entry, key| {
            call("torch._utils", "_rebuild_tensor", &[&float(entry, key), b"t".as_slice()].concat())
        }),
        ("with a type of its own", &|entry, key| call("torch._utils", "_rebuild_tensor_v3", &typed(entry, key))),
        ("a parameter", &|entry, key| {
            call("torch._utils", "_rebuild_parameter", &[b"(".as_slice(), &v2(entry, key), flags].concat())
        }),
        ("a parameter with a state", &|entry, key| {
            let arguments = [b"(".as_slice(), &v2(entry, key), b"\x89ccollections\nOrderedDict\n)R}t"].concat();
            call("torch._utils", "_rebuild_parameter_with_state", &arguments)
        }),
        ("of a class of its own", &|entry, key| {
            let call_of = b"(ctorch._utils\n_rebuild_tensor_v2\ncmy.project\nTensor\n".as_slice();
            call("torch._tensor", "_rebuild_from_type_v2", &[call_of, &float(entry, key), flags, b"}t"].concat())
        }),
    ];
    let floats: Vec<Entry> = entries.into_iter().filter(|entry| entry.class == "FloatStorage").collect();
    for (what, way) in ways {
        let codes: Vec<Vec<u8>> = floats.iter().enumerate().map(|(key, entry)| way(entry, key)).collect();
        let items: Vec<(&str, &[u8])> =
            floats.iter().map(|entry| entry.name.as_str()).zip(codes.iter().map(Vec::as_slice)).collect();
        let file = torch::zip_around(&torch::dictionary(&items), &floats, CompressionMethod::Stored);
        let (_, base) = shop.import(&file).unwrap_or_else(|error| panic!("{what}: {}", message(&error)));
        assert_eq!(base.id(), expected.id(), "{what}");
    }
}

/// Catches: two tensors of one storage, of which one gets the other's values.
#[test]
fn tensors_may_share_a_storage() {
    let shop = Workshop::new();
    let (_, expected) = shop.import(&serialise(&shop.tensors)).unwrap();
    let mut whole = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    for entry in torch::entries(&shop.tensors).into_iter().filter(|entry| entry.class == "FloatStorage") {
        entries.push(Entry { offset: whole.len() / 4 + entry.offset, ..entry.clone() });
        whole.extend(entry.storage);
    }
    let count = whole.len() / 4;
    entries.iter_mut().for_each(|entry| entry.count = count);
    let shared: Vec<(String, Vec<u8>)> =
        entries.iter().map(|entry| (entry.name.clone(), torch::tensor_of(0, entry))).collect();
    let items: Vec<(&str, &[u8])> = shared.iter().map(|(name, code)| (name.as_str(), code.as_slice())).collect();
    let pickle = torch::dictionary(&items);
    let files = [("data.pkl".to_owned(), pickle.as_slice()), ("data/0".to_owned(), &whole)];
    let (_, base) = shop.import(&torch::torch_archive("net", &files)).unwrap();
    assert_eq!(base.id(), expected.id());
}

/// Catches: the weights taken where their average is better and asked for, or the reverse, or either without a word.
#[test]
fn averages_are_taken_as_asked_and_said() {
    let shop = Workshop::new();
    let mut averaged = shop.tensors.clone();
    find(&mut averaged, "_fc.bias").bytes.fill(0);
    let (_, weights) = shop.import(&serialise(&shop.tensors)).unwrap();
    let (_, average) = shop.import(&serialise(&averaged)).unwrap();
    assert_ne!(weights.id(), average.id());
    let mut entries = torch::entries(&shop.tensors);
    let state = torch::state(&entries, false);
    let first = entries.len();
    entries.extend(torch::entries(&averaged));
    let average_state = torch::state_from(first, &entries[first..]);
    for (weights_entry, average_entry) in
        [("state_dict", "state_dict_ema"), ("model", "model_ema"), ("student", "teacher"), ("params", "params_ema")]
    {
        let pickle = torch::dictionary(&[
            (weights_entry, torch::code(&state)),
            (average_entry, torch::code(&average_state)),
            ("epoch", b"K\x05"),
        ]);
        let path = shop.write("ema.pth", torch::zip_around(&pickle, &entries, CompressionMethod::Stored));
        for (averages, taken, left, expected) in [
            (Averages::Prefer, average_entry, weights_entry, average.id()),
            (Averages::Require, average_entry, weights_entry, average.id()),
            (Averages::Ignore, weights_entry, average_entry, weights.id()),
        ] {
            let (report, base) = shop.import_path(&path, |request| request.averages = averages).unwrap();
            assert_eq!((report.wrapper.as_deref(), report.alternative.as_deref()), (Some(taken), Some(left)));
            assert_eq!((report.is_average, base.id()), (taken == average_entry, expected));
        }
    }
    for (entry, averages, words) in [
        ("state_dict", Averages::Require, "without `--ema`"),
        ("state_dict_ema", Averages::Ignore, "without `--no-ema`"),
    ] {
        let pickle = torch::dictionary(&[(entry, torch::code(&state))]);
        let path = shop.write("one.pth", torch::zip_around(&pickle, &entries, CompressionMethod::Stored));
        let error = shop.import_path(&path, |request| request.averages = averages).unwrap_err();
        assert!(message(&error).contains(words), "{}", message(&error));
    }
    let path = shop.write("plain.safetensors", serialise(&shop.tensors));
    let error = shop.import_path(&path, |request| request.averages = Averages::Require).unwrap_err();
    assert!(message(&error).contains("without `--ema`"), "{}", message(&error));
}

/// Catches: weights that are not found in the entry where a training program keeps them, at any depth.
#[test]
fn entries_that_hold_the_weights_are_found() {
    let shop = Workshop::new();
    let entries = torch::entries(&shop.tensors);
    let state = torch::state(&entries, false);
    let (_, expected) = shop.import(&serialise(&shop.tensors)).unwrap();
    for path in ["state_dict", "model", "net", "params", "module", "student", "anything", "model.state_dict"] {
        let mut pickle = state.clone();
        for entry in path.rsplit('.') {
            pickle = torch::dictionary(&[("epoch", b"K\x05"), (entry, torch::code(&pickle)), ("optimizer", b"}")]);
        }
        let (report, base) = shop.import(&torch::zip_around(&pickle, &entries, CompressionMethod::Stored)).unwrap();
        assert_eq!((report.wrapper.as_deref(), base.id()), (Some(path), expected.id()), "{path}");
    }
}

/// Catches: a prefix that is on no list, one inside a name, a prefix that is taken off without a word.
#[test]
fn any_common_prefix_is_taken_off() {
    let shop = Workshop::new();
    let (_, expected) = shop.import(&serialise(&shop.tensors)).unwrap();
    for prefix in ["_orig_mod.", "net.", "encoder.", "student.", "module._orig_mod.", "a.b.c.d.", "_blocks."] {
        let tensors = shop.renamed(|name| format!("{prefix}{name}"));
        let (report, base) = shop.import(&serialise(&tensors)).unwrap();
        assert_eq!((report.detected.prefix.as_str(), base.id()), (prefix, expected.id()));
    }
    let inner = shop.renamed(|name| format!("net.{}", name.replace("_blocks.1.", "_blocks.1._orig_mod.")));
    let (report, base) = shop.import(&serialise(&inner)).unwrap();
    assert_eq!((report.detected.wrappers.as_slice(), base.id()), (["_orig_mod"].as_slice(), expected.id()));
    let mut averaged = shop.renamed(|name| format!("module.{name}"));
    let bias = find(&mut averaged, "module._fc.bias").clone();
    averaged.push(Tensor { name: "n_averaged".into(), shape: vec![1], bytes: vec![0; 4], ..bias });
    let (report, base) = shop.import(&serialise(&averaged)).unwrap();
    assert_eq!((report.ignored.as_slice(), base.id()), (["n_averaged".to_owned()].as_slice(), expected.id()));
}

/// Catches: a classifier inside a `Sequential` or of another name that is refused, or one of two that is guessed.
#[test]
fn a_head_of_another_name_is_found_if_it_is_the_only_one() {
    let shop = Workshop::new();
    let (_, expected) = shop.import(&serialise(&shop.tensors)).unwrap();
    for head in ["_fc.1", "fc", "fc.1", "head.fc", "head.1", "classifier", "classifier.0.2"] {
        let tensors = shop.renamed(|name| name.replace("_fc.", &format!("{head}.")));
        let (report, base) = shop.import(&serialise(&tensors)).unwrap();
        assert_eq!((report.detected.head.as_deref(), base.id()), (Some(head), expected.id()));
    }
    let mut two = shop.renamed(|name| name.replace("_fc.", "fc.0."));
    two.extend(
        shop.renamed(|name| name.replace("_fc.", "fc.1.")).into_iter().filter(|tensor| tensor.name.starts_with("fc.1")),
    );
    let text = shop.refusal(&serialise(&two));
    assert!(text.contains("fits no architecture"), "{text}");
    let (report, _) = shop.import(&serialise(&shop.tensors)).unwrap();
    assert_eq!(report.detected.head, None);
}

/// Catches: an extra tensor that cannot be left out, one that is left out unasked or without a word, a pattern with a typo
/// that does nothing.
#[test]
fn tensors_are_left_out_on_request() {
    let shop = Workshop::new();
    let (_, expected) = shop.import(&serialise(&shop.tensors)).unwrap();
    let mut tensors = shop.renamed(|name| format!("net.{name}"));
    let bias = find(&mut tensors, "net._fc.bias").clone();
    for name in ["criterion.weight", "net.aux.0.bias", "net.aux.1.bias"] {
        tensors.push(Tensor { name: name.into(), ..bias.clone() });
    }
    let path = shop.write("extra.safetensors", serialise(&tensors));
    let refused = |drop: &[&str]| {
        let drop: Vec<String> = drop.iter().map(|&pattern| pattern.to_owned()).collect();
        message(
            &shop
                .import_path(&path, |request| {
                    (request.architecture, request.drop) = (Some("efficientnet-tiny"), &drop);
                })
                .unwrap_err(),
        )
    };
    assert!(refused(&[]).contains("`--drop"));
    assert!(refused(&["criterion.*", "net.aux.*", "net.typo"]).contains("`net.typo`: no tensor"));
    assert!(refused(&["net.[aux"]).contains("`net.[aux`"));
    assert!(refused(&["criterion.*", "net.aux.*", "*_conv_stem*"]).contains("`_conv_stem.weight`"));
    let drop = ["criterion.weight".to_owned(), "net.aux.*".to_owned()];
    let (report, base) = shop.import_path(&path, |request| request.drop = &drop).unwrap();
    assert_eq!(report.dropped, ["criterion.weight", "net.aux.0.bias", "net.aux.1.bias"]);
    assert_eq!(base.id(), expected.id());

    let entries = torch::entries(&shop.tensors);
    let mut state = torch::state(&entries, false);
    let mut extra = b"(".to_vec();
    for (name, code) in [
        ("scale", call("torch._utils", "_rebuild_qtensor", b")")),
        ("step", b"K\x05".to_vec()),
        ("a._extra_state", b"N".to_vec()),
    ] {
        torch::text(&mut extra, name);
        extra.extend(code);
    }
    extra.extend(b"u.");
    state.splice(state.len() - 1.., extra);
    let path = shop.write("quantised.pth", torch::zip_around(&state, &entries, CompressionMethod::Stored));
    let error = shop.import_path(&path, |_| {}).unwrap_err();
    assert!(message(&error).contains("`scale`: expected a tensor, found a quantised tensor"), "{}", message(&error));
    let drop = ["s*".to_owned()];
    let (report, base) = shop.import_path(&path, |request| request.drop = &drop).unwrap();
    assert_eq!((report.dropped.len(), base.id()), (2, expected.id()));
    assert!(report.ignored.contains(&"a._extra_state".to_owned()));
}

/// Catches: a checkpoint in parts that is refused or imported in part, and an index that leads out of its folder.
#[test]
fn parts_are_read_by_their_index() {
    let shop = Workshop::new();
    let (_, expected) = shop.import(&serialise(&shop.tensors)).unwrap();
    let folder = shop.path("hub");
    fs::create_dir(&folder).unwrap();
    let part = |number: usize| format!("model-0000{number}-of-00002.safetensors");
    let (first, second) = shop.tensors.split_at(shop.tensors.len() / 2);
    fs::write(folder.join(part(1)), serialise(first)).unwrap();
    fs::write(folder.join(part(2)), serialise(second)).unwrap();
    let index = folder.join("model.safetensors.index.json");
    let write = |edit: &dyn Fn(&str, String) -> String| {
        let line = |(position, tensor): (usize, &Tensor)| {
            let file = part(if position < first.len() { 1 } else { 2 });
            format!("\"{}\": \"{}\"", tensor.name, edit(&tensor.name, file))
        };
        let lines: Vec<String> = shop.tensors.iter().enumerate().map(line).collect();
        fs::write(&index, format!("{{\"metadata\": {{}}, \"weight_map\": {{{}}}}}", lines.join(", "))).unwrap();
    };
    write(&|_, file| file);
    for path in [&folder, &index] {
        let (report, base) = shop.import_path(path, |_| {}).unwrap();
        assert_eq!((report.files, base.id()), (2, expected.id()));
        assert_eq!(base.manifest().origin.file, "model.safetensors.index.json");
    }
    let refused = |path: &Path| message(&shop.import_path(path, |_| {}).unwrap_err());
    assert!(refused(&folder.join(part(2))).contains("model.safetensors.index.json"));
    write(&|_, _| "../tiny.safetensors".to_owned());
    assert!(refused(&index).contains("not beside it"));
    let other = |file: String| if file == part(1) { part(2) } else { part(1) };
    write(&|name, file| if name == "_fc.bias" { other(file) } else { file });
    assert!(refused(&index).contains("`_fc.bias` is missing"), "{}", refused(&index));
    fs::remove_file(folder.join(part(1))).unwrap();
    write(&|_, file| file);
    assert!(refused(&index).contains(&part(1)));
    fs::write(&index, "{}").unwrap();
    assert!(refused(&index).contains("`weight_map`"));
}

/// Catches: a program with its code that is refused without the lines that make a state dict of it.
#[test]
fn programs_are_told_how_to_become_state_dicts() {
    let shop = Workshop::new();
    let stored = CompressionMethod::Stored;
    let module = object("torchvision.models.resnet", "ResNet");
    let whole = [b"\x80\x02".as_slice(), &module, b"."].concat();
    let entry = torch::dictionary(&[("epoch", b"K\x05"), ("model", &module)]);
    let mut legacy = b"\x80\x02(".to_vec();
    torch::text(&mut legacy, "module");
    legacy.extend(b"cmy.project\nNet\nNNtQ)\x81}b.");
    let script =
        [("data.pkl".to_owned(), whole.as_slice()), ("code/net.py".into(), b"x"), ("constants.pkl".into(), b"")];
    for (file, load, save) in [
        (torch::archive(&script, stored), "torch.jit.load(FILE, map_location=\"cpu\")", "model.state_dict()"),
        (
            torch::zip_around(&whole, &[], stored),
            "torch.load(FILE, map_location=\"cpu\", weights_only=False)\n",
            "`torchvision.models.resnet.ResNet`",
        ),
        (torch::zip_around(&entry, &[], stored), "weights_only=False)[\"model\"]\n", "torch.save(model.state_dict()"),
        (torch::legacy_around(&legacy, &[]), "weights_only=False)\n", "`my.project.Net`"),
    ] {
        let text = shop.refusal(&file);
        assert!(text.contains(load) && text.contains(save), "{text}");
    }
}

/// Catches: advice to take a network that is there for tests alone.
#[test]
fn a_network_for_tests_is_never_the_nearest() {
    let shop = Workshop::new();
    let (report, _) = shop.import(&serialise(&shop.tensors)).unwrap();
    let nearest = report.detected.runner_up.unwrap().0;
    let mut tensors = shop.tensors.clone();
    find(&mut tensors, "_fc.weight").shape.reverse();
    let text = shop.refusal(&serialise(&tensors));
    for network in ["efficientnet-tiny", "resnet-tiny", "vit-micro"] {
        assert!(nearest != network && !text.contains(&format!("nearest is {network}")), "{nearest}; {text}");
    }
}

/// Catches: a variance whose root is no number, which makes every logit one.
#[test]
fn negative_variances_are_refused() {
    let shop = Workshop::new();
    let mut tensors = shop.tensors.clone();
    find(&mut tensors, "_bn0.running_var").bytes[4..8].copy_from_slice(&(-0.25_f32).to_le_bytes());
    let error = shop.import(&serialise(&tensors)).unwrap_err();
    assert!(
        matches!(&error, ModelError::NegativeVariance { name, index: 1, value: -0.25, .. } if name == "_bn0.running_var"),
        "{error:?}"
    );
}

/// Catches: a tensor's name that clears the screen, and thousands of tensors that are compared with every architecture.
#[test]
fn names_are_escaped_and_bounded() {
    let shop = Workshop::new();
    let bias = find(&mut shop.tensors.clone(), "_fc.bias").clone();
    let mut tensors = shop.tensors.clone();
    tensors.push(Tensor { name: "a\u{1b}[2J\nerror: b\u{202e}".into(), ..bias.clone() });
    let path = shop.write("escape.safetensors", serialise(&tensors));
    let error = shop.import_path(&path, |request| request.architecture = Some("efficientnet-tiny")).unwrap_err();
    assert!(message(&error).contains("`a\\u{1b}[2J\\nerror: b\\u{202e}`"), "{}", message(&error));
    let many: Vec<Tensor> = (0..4097)
        .map(|number| Tensor { name: format!("t{number}"), shape: vec![1], bytes: vec![0; 4], ..bias.clone() })
        .collect();
    let error = shop.import(&serialise(&many)).unwrap_err();
    assert!(
        matches!(&error, ModelError::Checkpoint { source, .. } if matches!(**source, CheckpointError::TooManyTensors { .. })),
        "{error:?}"
    );
}

/// Catches: a pointer of Git LFS that is called a damaged file, and a device that is read without end.
#[test]
#[cfg(unix)]
fn what_is_no_file_of_weights_is_refused() {
    let shop = Workshop::new();
    let text = shop.refusal(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
    assert!(text.contains("git lfs pull"), "{text}");
    let weights = shop.write("tiny.bin", serialise(&shop.tensors));
    let zero = Path::new("/dev/zero");
    for (weights, labels) in [(zero, None), (weights.as_path(), Some(zero))] {
        let error = shop.import_path(weights, |request| request.labels = labels.or(request.labels)).unwrap_err();
        assert!(message(&error).contains("not a regular file"), "{}", message(&error));
    }
}
