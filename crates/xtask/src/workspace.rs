//! Workspace graph: the packages of the workspace and their dependencies on each other, from `cargo metadata`.

use crate::error::XtaskError;
use crate::process::{cargo, output};
use serde::Deserialize;
use std::path::{Component, Path, PathBuf};

/// Packages of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    pub packages: Vec<WorkspacePackage>,
}

/// Package of a workspace. Paths are relative to the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspacePackage {
    pub name: String,
    pub folder: PathBuf,
    /// Files and folders outside the package's own that it is built from: `package.metadata.check.inputs`.
    pub inputs: Vec<PathBuf>,
    /// Names of the packages that its library or binary is built with.
    pub dependencies: Vec<String>,
    /// Names of the packages that only its tests, examples and benches are built with.
    pub dev_dependencies: Vec<String>,
}

/// Output of `cargo metadata`, as far as it is read.
#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    packages: Vec<MetadataPackage>,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<MetadataDependency>,
    metadata: Option<PackageMetadata>,
}

#[derive(Deserialize)]
struct MetadataDependency {
    name: String,
    /// `dev` or `build`; `None` for a normal dependency.
    kind: Option<String>,
    /// Folder of a dependency by path.
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct PackageMetadata {
    check: Option<CheckMetadata>,
}

#[derive(Deserialize)]
struct CheckMetadata {
    inputs: Vec<PathBuf>,
}

impl Workspace {
    /// Loads the workspace in that folder.
    pub fn load(root: &Path) -> Result<Self, XtaskError> {
        Self::parse(&output(cargo().current_dir(root).args(["metadata", "--format-version", "1", "--no-deps"]))?)
    }

    /// Parses the output of `cargo metadata --no-deps`.
    fn parse(metadata: &str) -> Result<Self, XtaskError> {
        let Metadata { workspace_root, packages } = serde_json::from_str(metadata)?;
        Ok(Self { packages: packages.into_iter().map(|package| package.within(&workspace_root)).collect() })
    }
}

impl MetadataPackage {
    fn within(self, root: &Path) -> WorkspacePackage {
        let folder = self.manifest_path.parent().unwrap_or(root);
        let folder = folder.strip_prefix(root).unwrap_or(folder).to_owned();
        let inputs = self.metadata.and_then(|metadata| metadata.check).map_or_else(Vec::new, |check| check.inputs);
        let (dev, built) = self
            .dependencies
            .into_iter()
            .filter(|dependency| dependency.path.is_some())
            .partition::<Vec<_>, _>(|dependency| dependency.kind.as_deref() == Some("dev"));
        let names = |dependencies: Vec<MetadataDependency>| dependencies.into_iter().map(|one| one.name).collect();
        WorkspacePackage {
            name: self.name,
            inputs: inputs.iter().map(|input| normalised(&folder.join(input))).collect(),
            folder,
            dependencies: names(built),
            dev_dependencies: names(dev),
        }
    }
}

/// Resolves `.` and `..` in a relative path.
fn normalised(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => normal.push(component),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, VecDeque};

    /// Packages that a change of the first one must not rebuild.
    const UNAFFECTED: [(&str, &[&str]); 5] = [
        ("tpgm", &["tensor", "nets", "data", "delta", "durable", "store", "report", "target"]),
        ("model", &["exec", "tensor", "nets", "tpgm", "data", "delta", "durable", "store", "report", "target"]),
        ("exec", &["model", "data", "store", "report"]),
        ("data", &["exec", "model", "store", "report"]),
        ("adapt", &["exec", "model", "data", "store", "report"]),
    ];

    /// Packages whose public types are no library's: programs, and the classes of another language under the library's names.
    const NO_LIBRARIES: [&str; 5] =
        ["fieldfit-cli", "fieldfit-xtask", "fieldfit-tests", "fieldfit-python", "fieldfit-capi"];

    /// Sources below a folder.
    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (folders, files) = entries.partition::<Vec<_>, _>(|path| path.is_dir());
        let below = folders.iter().flat_map(|folder| sources(folder));
        below.chain(files.into_iter().filter(|file| file.extension().is_some_and(|end| end == "rs"))).collect()
    }

    /// Name of the public type that a line defines.
    fn public_type(line: &str) -> Option<&str> {
        let (kind, name) = line.trim_start().strip_prefix("pub ")?.split_once(' ')?;
        let name = name.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
        ["struct", "enum", "union", "trait", "type"].contains(&kind).then_some(name)
    }

    /// Shortest chain of dependencies by which a change of `changed` rebuilds `rebuilt`: each package is built with
    /// the next.
    fn chain(workspace: &Workspace, rebuilt: &str, changed: &str) -> Option<Vec<String>> {
        let mut reached = BTreeMap::from([(rebuilt.to_owned(), None::<String>)]);
        let mut queue = VecDeque::from([rebuilt.to_owned()]);
        while let Some(name) = queue.pop_front() {
            let package = workspace.packages.iter().find(|package| package.name == name)?;
            for dependency in &package.dependencies {
                if !reached.contains_key(dependency) {
                    reached.insert(dependency.clone(), Some(name.clone()));
                    queue.push_back(dependency.clone());
                }
            }
        }
        let mut chain = vec![changed.to_owned()];
        while let Some(before) = reached.get(chain.last()?)? {
            chain.push(before.clone());
        }
        chain.reverse();
        Some(chain)
    }

    /// Catches: an edge of the dependency graph by which a change of one layer rebuilds a layer beside or below it,
    /// e.g. a change of
    /// `tpgm` all readers of images and stores, or a change of the import all kernels. The message names the chain.
    #[test]
    fn a_change_of_one_layer_does_not_rebuild_another() {
        let workspace = Workspace::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        for (changed, unaffected) in UNAFFECTED {
            for rebuilt in unaffected {
                let [changed, rebuilt] = [changed, rebuilt].map(|name| format!("fieldfit-{name}"));
                assert!(workspace.packages.iter().any(|package| package.name == rebuilt), "no package {rebuilt}");
                if let Some(chain) = chain(&workspace, &rebuilt, &changed) {
                    panic!("a change of {changed} rebuilds {rebuilt}: {}", chain.join(" → "));
                }
            }
        }
        let chain = chain(&workspace, "fieldfit-exec", "fieldfit-tensor").unwrap();
        assert_eq!((&*chain[0], &*chain[chain.len() - 1]), ("fieldfit-exec", "fieldfit-tensor"));
    }

    /// Catches: two public types of one name in the libraries, so that a reader of the one has to ask which.
    #[test]
    fn no_two_public_types_have_one_name() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let workspace = Workspace::load(&root).unwrap();
        let mut definitions = BTreeMap::<String, Vec<PathBuf>>::new();
        for package in workspace.packages.iter().filter(|package| !NO_LIBRARIES.contains(&&*package.name)) {
            for file in sources(&root.join(&package.folder).join("src")) {
                let source = std::fs::read_to_string(&file).unwrap();
                for name in source.lines().filter_map(public_type) {
                    definitions.entry(name.to_owned()).or_default().push(file.clone());
                }
            }
        }
        assert!(definitions.contains_key("Runtime") && definitions.contains_key("TensorView"));
        definitions.retain(|_, files| files.len() > 1);
        assert!(definitions.is_empty(), "public types of one name: {definitions:#?}");
    }

    /// Catches: a dev-dependency taken for one that the library is built with, a registry's crate taken for one of the
    /// workspace, and inputs that are not found because of their `..`.
    #[test]
    fn metadata_is_read() {
        let metadata = r#"{"workspace_root": "/w", "version": 1, "packages": [{
            "name": "store", "manifest_path": "/w/crates/store/Cargo.toml",
            "metadata": {"check": {"inputs": ["../../targets"]}, "other": 1},
            "dependencies": [
                {"name": "durable", "kind": null, "path": "/w/crates/durable"},
                {"name": "generator", "kind": "build", "path": "/w/crates/generator"},
                {"name": "tests", "kind": "dev", "path": "/w/tests"},
                {"name": "serde", "kind": null}
            ]}, {"name": "tests", "manifest_path": "/w/tests/Cargo.toml", "metadata": null, "dependencies": []}]}"#;
        let workspace = Workspace::parse(metadata).unwrap();
        let expected = WorkspacePackage {
            name: "store".into(),
            folder: "crates/store".into(),
            inputs: vec!["targets".into()],
            dependencies: vec!["durable".into(), "generator".into()],
            dev_dependencies: vec!["tests".into()],
        };
        assert_eq!(workspace.packages[0], expected);
        assert_eq!(workspace.packages[1].folder, Path::new("tests"));
        assert!(Workspace::parse("{}").is_err());
    }

    /// Catches: a change of cargo's output, or a manifest, with which the graph of this workspace has no edges or inputs.
    #[test]
    fn this_workspace_is_read() {
        let workspace = Workspace::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let named = |name: &str| workspace.packages.iter().find(|package| package.name == name).unwrap();
        assert!(named("fieldfit-cli").dependencies.contains(&"fieldfit".to_owned()));
        assert!(named("fieldfit-cli").dev_dependencies.contains(&"fieldfit-tests".to_owned()));
        let this = named("fieldfit-xtask");
        let inputs = ["targets", "crates/capi"].map(PathBuf::from);
        assert_eq!((&*this.folder, &*this.inputs), (Path::new("crates/xtask"), &inputs[..]));
    }
}
