//! Tests of the profiles of `targets/`: each is read, all are part of the program, and cargo's configuration can
//! build and run what they name. Guards against a board that is added in one place and forgotten in another.

#![allow(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use fieldfit_target::{Gpu, TargetError, TargetProfile, names};
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn boards() -> Vec<TargetProfile> {
    names().map(|name| TargetProfile::named(name).unwrap()).collect()
}

/// Catches: a profile that nobody can name, or one that is called otherwise than its file.
#[test]
fn the_program_has_every_file_under_its_name() {
    let mut files: Vec<String> = fs::read_dir(repository().join("targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let compiled: Vec<&str> = names().collect();
    files.sort();
    assert_eq!(files, compiled);
    for board in boards() {
        let path = repository().join("targets").join(&board.name).with_extension("toml");
        assert_eq!(TargetProfile::read(&path).unwrap(), board);
        assert_eq!(TargetProfile::find(path.to_str().unwrap()).unwrap(), board);
        assert!(!board.sources.is_empty(), "{}: facts without a source", board.name);
    }
}

/// Catches: a board that no command builds for: a Linux triple without linker, or a runner that emulates another CPU.
#[test]
fn cargo_links_and_emulates_what_the_profiles_name() {
    let text = fs::read_to_string(repository().join(".cargo/config.toml")).unwrap();
    let config: toml::Table = text.parse().unwrap();
    let host = TargetProfile::named("host").unwrap().triple;
    for board in boards() {
        let TargetProfile { name, triple, .. } = &board;
        let section = config["target"].get(triple);
        if !triple.contains("linux") || *triple == host {
            assert!(section.is_none() && board.emulated_as.is_none(), "{name}: built where it runs");
            continue;
        }
        let section = section.unwrap_or_else(|| panic!("{name}: .cargo/config.toml has no linker for {triple}"));
        let value = |key: &str| section[key].as_str().unwrap().to_owned();
        let architecture = triple.split('-').next().unwrap();
        assert!(value("linker").starts_with(architecture), "{name}: {}", value("linker"));
        let emulated = board.emulated_as.as_deref().unwrap();
        let runner = value("runner");
        assert!(runner.starts_with(&format!("qemu-{architecture} -cpu {emulated} ")), "{name}: {runner}");
    }
}

/// Catches: a binary that is checked against nothing; a build for CUDA without the GPU to compile for.
#[test]
fn linux_boards_say_what_their_system_has() {
    for board in boards().iter().filter(|board| board.triple.contains("linux")) {
        assert!(board.system.glibc.is_some(), "{}", board.name);
        assert!(board.system.libraries.iter().any(|library| library == "libc.so.6"), "{}", board.name);
        let is_cuda = matches!(board.gpu, Some(Gpu::Cuda { .. }));
        assert_eq!(board.system.cuda.is_some(), is_cuda, "{}", board.name);
    }
}

/// Catches: a board that is taken for one of another system.
#[test]
fn a_board_knows_the_machines_it_is_built_for() {
    let fits = |name: &str, architecture: &str, system: &str| {
        TargetProfile::named(name).unwrap().is_built_for(architecture, system)
    };
    assert!(fits("jetson-orin-nano", "aarch64", "linux") && fits("host", "x86_64", "linux"));
    assert!(fits("apple-silicon", "aarch64", "macos"));
    assert!(!fits("apple-silicon", "aarch64", "linux") && !fits("jetson-orin-nano", "aarch64", "macos"));
    assert!(!fits("host", "aarch64", "linux"));
}

/// Catches: a typing error that is read past, and numbers that would plan more than there is.
#[test]
fn what_no_board_has_is_refused_by_its_key() {
    let text = fs::read_to_string(repository().join("targets/raspberry-pi-5.toml")).unwrap();
    for (from, to, named) in [
        ("cores = 4", "cores = 0", "cores"),
        ("cores = 4", "kores = 4", "kores"),
        ("threads = 2", "threads = 5", "duty.threads"),
        ("threads = 2", "threads = 0", "duty.threads"),
        ("nice = 19", "nice = 20", "duty.nice"),
        ("adaptation_mib = 768", "adaptation_mib = 4096", "memory.adaptation_mib"),
        ("glibc = \"2.36\"", "glibc = \"two\"", "two"),
        ("compute = \"f32\"", "compute = \"f16\"", "dtype.compute"),
        ("features = []", "features = [\"cuda\"]", "features"),
        ("triple = \"aarch64-unknown-linux-gnu\"", "triple = \"arm\"", "triple"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = TargetProfile::parse("pi.toml", &text.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains("pi.toml") && error.contains(named), "{to}: {error}");
    }
    let unknown = TargetProfile::find("jetson-nano").unwrap_err();
    assert!(matches!(unknown, TargetError::Unknown { .. }) && unknown.to_string().contains("jetson-orin-nano"));
}
