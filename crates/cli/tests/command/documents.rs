//! Documentation tests: run the commands that `README.md` and `docs/` show, and check links, sizes and code blocks.

use assert_cmd::Command;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Output;

/// `cargo` commands of the documents that the gate runs itself (`.ci/run`, `.ci/boards.sh`).
const RUN_BY_THE_GATE: [&str; 3] = ["cargo run --release -- demo", "cargo test", "cargo xtask bundle jetson-orin-nano"];

/// The most bytes that `README.md` may have.
const README_LIMIT: usize = 10_000;

/// Catches: a flag that was renamed, a path that moved, an example that never ran.
///
/// The `sh` blocks of a document run in order, in a scratch folder of its own that looks like the top of a clone. Commands
/// that a host cannot run stand in `text` or `console` blocks.
#[test]
fn every_command_of_the_documents_runs() {
    let mut ran = 0;
    for document in documents() {
        let folder = clone();
        for command in commands(&document) {
            ran += usize::from(run(&document, &command, folder.path()));
        }
    }
    assert!(ran >= 20, "only {ran} commands were found in the documents");
}

/// Catches: a README that grows into a manual again.
#[test]
fn the_readme_is_short() {
    let bytes = read(&top().join("README.md")).len();
    assert!(
        bytes <= README_LIMIT,
        "README.md: expected at most {README_LIMIT} bytes, found {bytes}: move text to docs/"
    );
}

/// Catches: a link to a file or a heading that was moved, renamed or never written.
#[test]
fn every_relative_link_leads_somewhere() {
    let mut checked = 0;
    let broken: Vec<String> = markdown_files()
        .iter()
        .flat_map(|document| links(document).into_iter().map(move |link| (document, link)))
        .inspect(|_| checked += 1)
        .filter_map(|(document, link)| Some(format!("{}: {link}: {}", document.display(), broken(document, &link)?)))
        .collect();
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    assert!(checked >= 100, "only {checked} links were found in the documents");
}

/// Catches: a page of the documentation that no other page leads to.
#[test]
fn the_index_lists_every_page() {
    let index = top().join("docs/README.md");
    let listed: BTreeSet<PathBuf> =
        links(&index).iter().filter_map(|link| target(&index, link).canonicalize().ok()).collect();
    for page in markdown_below(&top().join("docs")) {
        let page = page.canonicalize().unwrap();
        assert!(
            page.ends_with("docs/README.md") || listed.contains(&page),
            "docs/README.md does not list {}",
            page.display()
        );
    }
}

/// Catches: a command in a block without a language, which this test would not run and rustdoc would compile as Rust.
#[test]
fn every_code_block_names_its_language() {
    for document in documents() {
        for block in blocks(&read(&document)) {
            let first = block.lines.first().map_or("", String::as_str);
            assert!(!block.language.is_empty(), "{}: the block that begins with `{first}`", document.display());
        }
    }
}

/// Runs one line of a document. Returns whether it is a `fieldfit` command; those of `cargo` are the gate's.
fn run(document: &Path, line: &str, folder: &Path) -> bool {
    let words = shlex::split(line).unwrap_or_else(|| panic!("{}: unbalanced quotes: {line}", document.display()));
    match words[0].as_str() {
        "cargo" => {
            assert!(RUN_BY_THE_GATE.contains(&line), "{}: {line}: no leg of the gate runs it", document.display());
            false
        }
        "fieldfit" => {
            let mut command = Command::new(assert_cmd::cargo::cargo_bin!("fieldfit"));
            let output = command.current_dir(folder).args(&words[1..]).env_remove("RUST_LOG").output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let is_fine = output.status.success() || is_rejected_by_the_gate(&words, &output);
            assert!(is_fine, "{}: {line}: {}\n{said}", document.display(), output.status);
            true
        }
        other => panic!("{}: {line}: this test cannot run `{other}`", document.display()),
    }
}

/// Whether an adaptation ran to its end and the gate rejected it, which the documents name as an outcome: on a few images, the
/// CPU's rounding can change the decision.
fn is_rejected_by_the_gate(words: &[String], output: &Output) -> bool {
    let verdict = String::from_utf8_lossy(&output.stdout).lines().any(|line| line.starts_with("gate: "));
    words[1] == "adapt" && output.status.code() == Some(1) && verdict
}

/// A scratch folder that shows what commands use of the top of a clone.
fn clone() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for shown in ["models", "targets", "tests"] {
        symlink(top().join(shown).canonicalize().unwrap(), folder.path().join(shown)).unwrap();
    }
    folder
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages whose commands run: `README.md` and everything in `docs/`.
fn documents() -> Vec<PathBuf> {
    let mut documents = vec![top().join("README.md")];
    documents.extend(markdown_below(&top().join("docs")));
    documents
}

/// Every Markdown file of the repository.
fn markdown_files() -> Vec<PathBuf> {
    let at_the_top = fs::read_dir(top()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| is_markdown(path));
    let mut files: Vec<_> = at_the_top.collect();
    files.extend(
        [".github", "crates", "docs", "models", "tests"].iter().flat_map(|folder| markdown_below(&top().join(folder))),
    );
    files
}

/// The Markdown files at any depth of a folder, in order, without those that tools put there.
fn markdown_below(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let is_generated = |path: &Path| path.ends_with("target") || path.ends_with("venv");
    let of = |path: PathBuf| match path.is_dir() {
        true if is_generated(&path) => Vec::new(),
        true => markdown_below(&path),
        false if is_markdown(&path) => vec![path],
        false => Vec::new(),
    };
    entries.into_iter().flat_map(of).collect()
}

fn is_markdown(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|extension| extension == "md")
}

/// A fenced block of code.
struct Block {
    language: String,
    lines: Vec<String>,
}

/// The fenced blocks of a Markdown text.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => open = Some(Block { language: language.trim().to_owned(), lines: Vec::new() }),
            (None, Some(block)) => block.lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block of code is never closed");
    blocks
}

/// The commands of a document's `sh` blocks; a `\` at the end of a line continues it.
fn commands(document: &Path) -> Vec<String> {
    let shell = blocks(&read(document)).into_iter().filter(|block| block.language == "sh");
    let lines = shell
        .flat_map(|block| block.lines.join("\n").replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect()
}

/// The text outside blocks of code, line by line, without code spans.
fn prose(document: &Path) -> Vec<String> {
    let mut is_code = false;
    let mut prose = Vec::new();
    for line in read(document).lines() {
        match line.trim_start().starts_with("```") {
            true => is_code = !is_code,
            false if !is_code => prose.push(line.split('`').step_by(2).collect()),
            false => {}
        }
    }
    prose
}

/// The relative links of a document.
fn links(document: &Path) -> Vec<String> {
    let targets = |line: &String| -> Vec<String> {
        line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
    };
    let is_relative = |link: &String| !link.contains("://") && !link.starts_with("mailto:");
    prose(document).iter().flat_map(targets).filter(is_relative).collect()
}

/// The file that a document's link names; the document itself where it names a heading alone.
fn target(document: &Path, link: &str) -> PathBuf {
    match link.split('#').next().unwrap_or_default() {
        "" => document.to_owned(),
        path => document.parent().unwrap_or(Path::new("")).join(path),
    }
}

/// Why a link leads nowhere, if so.
fn broken(document: &Path, link: &str) -> Option<String> {
    let target = target(document, link);
    if !target.exists() {
        return Some("no such file".into());
    }
    let heading = link.split_once('#')?.1;
    let is_there = is_markdown(&target) && headings(&target).contains(heading);
    (!is_there).then(|| format!("no heading `{heading}`"))
}

/// The anchors of a document's headings, as GitHub makes them.
fn headings(document: &Path) -> BTreeSet<String> {
    let mut is_code = false;
    let mut headings = BTreeSet::new();
    for line in read(document).lines() {
        is_code ^= line.trim_start().starts_with("```");
        if !is_code && line.starts_with('#') {
            headings.insert(anchor(line.trim_start_matches('#').trim()));
        }
    }
    headings
}

/// GitHub's anchor of a heading: lower case, spaces as hyphens, without other punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
