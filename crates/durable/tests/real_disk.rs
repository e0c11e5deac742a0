//! Tests on the real file system: guards against a lock that outlives its process or excludes nobody, and against a
//! commit that works on the simulated disk alone.

use fieldfit_durable::{
    Claim, Disk, DurableError, FileSystem, commit, commit_sealed, create_folder, lock, read, read_sealed,
    remove_leftovers, share, try_lock,
};
use std::{
    env, fs, io,
    path::Path,
    process::{self, Command, Stdio},
    thread,
    time::Duration,
};

const LIMIT: u64 = 1 << 20;

/// Catches: a commit that doesn't replace, leaves its temporary file, or can't make its folders.
#[test]
fn a_commit_replaces_the_content_and_leaves_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("a/b");
    create_folder(&Disk, &folder).unwrap();
    create_folder(&Disk, &folder).unwrap();
    for content in [b"first".as_slice(), b"second, longer", b"3"] {
        commit(&Disk, &folder.join("file"), content).unwrap();
        assert_eq!(read(&Disk, &folder.join("file"), LIMIT).unwrap(), content);
    }
    assert_eq!(Disk.list(&folder).unwrap(), ["file"]);
}

/// Catches: a leftover of a killed process that stands in the way of the next commit, or somebody else's file that is
/// overwritten.
#[test]
fn a_leftover_temporary_file_is_left_alone_until_it_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let leftovers = [".file.tmp", ".file.0123456789abcdef.tmp"];
    leftovers.iter().for_each(|name| fs::write(root.path().join(name), "half").unwrap());
    commit(&Disk, &root.path().join("file"), b"whole").unwrap();
    assert_eq!(read(&Disk, &root.path().join("file"), LIMIT).unwrap(), b"whole");
    assert!(leftovers.iter().all(|name| fs::read(root.path().join(name)).unwrap() == b"half"));
    assert_eq!(remove_leftovers(&Disk, root.path(), |name| name == "file").unwrap(), 2);
    assert_eq!(Disk.list(root.path()).unwrap(), ["file"]);
}

/// Catches: a commit that writes through a link which somebody planted under its temporary name.
#[test]
#[cfg(unix)]
fn a_planted_temporary_name_is_not_written_through() {
    let root = tempfile::tempdir().unwrap();
    let victim = root.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, root.path().join(".file.tmp")).unwrap();
    commit(&Disk, &root.path().join("file"), b"whole").unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert!(fs::symlink_metadata(root.path().join("file")).unwrap().is_file());
    // Whatever the name: what is created is new.
    let error = Disk.create(&root.path().join(".file.tmp")).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

/// Catches: a commit that replaces a link, a pipe, a device or a folder by a file.
#[test]
#[cfg(unix)]
fn only_a_regular_file_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::write(at("target"), "precious").unwrap();
    std::os::unix::fs::symlink(at("target"), at("link")).unwrap();
    std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
    fs::create_dir(at("folder")).unwrap();
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    for (name, found) in [("link", "link"), ("dangling", "link"), ("folder", "folder"), ("pipe", "pipe")] {
        let before = fs::symlink_metadata(at(name)).unwrap().file_type();
        let error = commit(&Disk, &at(name), b"new").unwrap_err();
        assert!(matches!(error, DurableError::NotAFile { .. }) && error.to_string().contains(found), "{error}");
        assert_eq!(fs::symlink_metadata(at(name)).unwrap().file_type(), before);
    }
    let error = commit(&Disk, Path::new("/dev/null"), b"new").unwrap_err();
    assert!(matches!(error, DurableError::NotAFile { .. }), "{error}");
    assert_eq!(fs::read(at("target")).unwrap(), b"precious");
    assert_eq!(Disk.list(root.path()).unwrap().len(), 5, "no temporary file is left");
}

/// Catches: a reader that waits for a pipe's other end, or reads a device without end.
#[test]
#[cfg(unix)]
fn only_a_regular_file_is_read() {
    let root = tempfile::tempdir().unwrap();
    let pipe = root.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.as_path(), Path::new("/dev/zero")] {
        let error = read(&Disk, path, LIMIT).unwrap_err();
        assert!(error.to_string().contains("expected a regular file"), "{error}");
    }
}

/// Catches: a lock whose file was replaced by a link, so that the holder's name overwrites another file.
#[test]
#[cfg(unix)]
fn a_lock_is_not_taken_through_a_link() {
    let root = tempfile::tempdir().unwrap();
    let (victim, path) = (root.path().join("victim"), root.path().join("lock"));
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, &path).unwrap();
    assert!(lock(&Disk, &path, Duration::ZERO).unwrap_err().to_string().contains("symbolic link"));
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

/// Catches: a path or a holder's name that moves the terminal's cursor from within an error.
#[test]
fn errors_escape_foreign_text() {
    let error = read(&Disk, Path::new("no\u{1b}[2Jfolder/a\nb"), LIMIT).unwrap_err().to_string();
    assert!(error.contains(r"no\u{1b}[2Jfolder/a\nb"), "{error}");
    let locked = DurableError::Locked { path: "lock".into(), by: "me\u{202e}".into() }.to_string();
    assert!(locked.contains(r"me\u{202e}"), "{locked}");
}

/// Catches: an error that doesn't say which file, or a missing file taken for another trouble.
#[test]
fn errors_name_the_path() {
    let root = tempfile::tempdir().unwrap();
    let missing = read(&Disk, &root.path().join("nothing"), LIMIT).unwrap_err();
    assert!(missing.is_not_found() && missing.to_string().contains("nothing"), "{missing}");
    let path = root.path().join("no-folder/file");
    assert!(commit(&Disk, &path, b"").unwrap_err().to_string().contains("no-folder"));
    fs::write(root.path().join("file"), "").unwrap();
    let error = create_folder(&Disk, &root.path().join("file")).unwrap_err();
    assert!(!error.is_not_found(), "{error}");
}

/// Catches: a limit that the real disk does not keep.
#[test]
fn a_file_beyond_the_limit_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("file");
    fs::write(&path, [0; 100]).unwrap();
    assert_eq!(read(&Disk, &path, 100).unwrap().len(), 100);
    let DurableError::Io { source, .. } = read(&Disk, &path, 99).unwrap_err() else { panic!("another error") };
    assert_eq!(source.kind(), io::ErrorKind::FileTooLarge);
}

/// Catches: a truncated file that reads as sealed.
#[test]
fn a_truncated_file_is_found_damaged() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("file");
    commit_sealed(&Disk, &path, *b"TESTING1", b"content").unwrap();
    assert_eq!(read_sealed(&Disk, &path, *b"TESTING1", LIMIT).unwrap(), b"content");
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(50).unwrap();
    let error = read_sealed(&Disk, &path, *b"TESTING1", LIMIT).unwrap_err();
    assert!(matches!(error, DurableError::Sealed { .. }) && error.to_string().contains("file"), "{error}");
}

/// Catches: two holders in one process, or a lock that is not given back.
#[test]
fn a_lock_keeps_the_second_away_until_it_is_dropped() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("lock");
    let held = lock(&Disk, &path, Duration::ZERO).unwrap();
    let error = lock(&Disk, &path, Duration::from_millis(20)).unwrap_err();
    assert!(error.to_string().contains(&format!("process {}", process::id())), "{error}");
    drop(held);
    drop(lock(&Disk, &path, Duration::ZERO).unwrap());
}

/// Catches: a shared lock that keeps others who share it away, or doesn't keep one away who wants it alone.
#[test]
fn a_lock_is_shared_or_held_alone() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("lock");
    let shared = [share(&Disk, &path).unwrap().unwrap(), share(&Disk, &path).unwrap().unwrap()];
    assert!(try_lock(&Disk, &path).unwrap().is_none());
    drop(shared);
    let alone = try_lock(&Disk, &path).unwrap().unwrap();
    assert!(share(&Disk, &path).unwrap().is_none());
    drop(alone);
    drop(share(&Disk, &path).unwrap().unwrap());
}

/// Catches: a lock that stays when its process is killed: the store would be locked for ever.
#[test]
fn a_lock_dies_with_its_process() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("lock");
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "holds_the_lock_until_killed", "--ignored"])
        .env("LOCK", &path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while holder(&path) != Some(format!("process {}", child.id())) {
        assert!(child.try_wait().unwrap().is_none(), "the holder ended early");
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    drop(lock(&Disk, &path, Duration::ZERO).unwrap());
}

/// Catches: what [`a_lock_dies_with_its_process`] does, whose other process this is.
#[test]
#[ignore = "started and killed by a_lock_dies_with_its_process"]
fn holds_the_lock_until_killed() {
    let _held = lock(&Disk, Path::new(&env::var("LOCK").unwrap()), Duration::from_secs(10)).unwrap();
    thread::sleep(Duration::from_secs(60));
}

/// Who holds the lock, without the program's name.
fn holder(path: &Path) -> Option<String> {
    let claim = if path.exists() { Disk.claim(path, "the test").ok()? } else { return None };
    match claim {
        Claim::Held(_) => None,
        Claim::Taken { by } => by.split(" (").next().map(str::to_owned),
    }
}
