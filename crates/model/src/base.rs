//! Base model: opens a model folder, maps its weights and verifies them.

use crate::check;
use crate::description::{NetworkDescription, SourceLayout};
use crate::error::ModelError;
use crate::file::{self, Bytes, map_file};
use crate::manifest::{LABELS_FILE, Manifest};
use crate::mapped_weights::MappedWeightsFile;
use crate::weights_type::scales_name;
use fieldfit_durable::{FileMark, Verification};
use fieldfit_nets::{Network, TensorSpec};
use fieldfit_tensor::{Dtype, Fit, Params, Preprocessing, Real, TensorId, TensorView};
use safetensors::tensor::{Metadata, SafeTensors, TensorInfo};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Identity of a base: SHA-256 over its architecture, preprocessing, weights and network description, if it has one, whatever
/// its folder is called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseId(pub [u8; 32]);

impl fmt::Display for BaseId {
    /// 64 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for BaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseId({self})")
    }
}

/// Pre-trained model θ0. Its weights stay in their file and their stored type, and are never written to.
#[derive(Debug)]
pub struct Base {
    path: PathBuf,
    manifest: Manifest,
    preprocessing: Preprocessing,
    labels: Vec<String>,
    network: Network,
    /// Layout of each tensor in the file that the network was imported from; empty of a built-in architecture.
    sources: Vec<Option<SourceLayout>>,
    id: BaseId,
    bytes: Bytes,
    /// Location of each tensor of the network in `bytes`.
    locations: Vec<Location>,
    verification: Option<Verification>,
    mapped: Option<MappedWeightsFile>,
}

/// Options of opening a base.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct BaseOptions {
    /// Whether the weights are read to the heap, where no other process can touch them, instead of mapped.
    pub copied: bool,
    /// Verification of an earlier opening. As long as the file is the very same, its hash and its values are not verified
    /// again. A copy is verified in any case.
    pub verification: Option<Verification>,
}

impl BaseOptions {
    /// Returns the options with weights on the heap, or mapped.
    #[must_use]
    pub const fn with_copied(self, copied: bool) -> Self {
        Self { copied, ..self }
    }

    /// Returns the options with that [`verification`](Self::verification) of an earlier opening.
    #[must_use]
    pub const fn with_verification(self, verification: Option<Verification>) -> Self {
        Self { verification, ..self }
    }
}

/// Stored type and byte ranges of one tensor.
#[derive(Debug)]
enum Location {
    Float { dtype: Dtype, range: Range<usize> },
    Int8 { codes: Range<usize>, scales: Range<usize> },
}

impl Base {
    /// Maps the model in `folder` and verifies it: length and hash as in the manifest; every tensor's name, shape and
    /// type as in the architecture or the network description; one label a class; finite values. Allocates nothing of the weights' size.
    ///
    /// The weights stay in the file: the kernel may drop their pages under pressure and read them again. Whoever
    /// truncates the file while it is mapped kills the process (SIGBUS) when it next reads a weight beyond the new end,
    /// which a swap or an adaptation does and a frame doesn't; and whoever overwrites it in place changes the weights
    /// unseen. [`import`](crate::import) makes the file read-only, and a file that is replaced by renaming is safe.
    /// Where that can't be relied on, use [`Base::open_copied`].
    ///
    /// # Errors
    /// If a file is missing, cut short, altered, or doesn't fit the architecture; the error names file and tensor.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        Self::open_as(folder, BaseOptions::default())
    }

    /// Opens the model in `folder` as [`Base::open`] does, but reads the weights to the heap, where no other process can touch them.
    ///
    /// # Errors
    /// As [`Base::open`].
    pub fn open_copied(folder: &Path) -> Result<Self, ModelError> {
        Self::open_as(folder, BaseOptions { copied: true, ..BaseOptions::default() })
    }

    /// Opens the model in `folder` under those options; else as [`Base::open`].
    ///
    /// # Errors
    /// As [`Base::open`].
    pub fn open_as(folder: &Path, opening: BaseOptions) -> Result<Self, ModelError> {
        let manifest = Manifest::read(folder)?;
        let labels_path = folder.join(LABELS_FILE);
        let labels = check::labels(&labels_path)?;
        let path = folder.join(&manifest.weights.file);
        let (file, bytes) = whole_file(&path, manifest.weights.bytes, opening.copied)?;
        let (start, metadata) = SafeTensors::read_metadata(&bytes)
            .map(|(header, metadata)| (header + size_of::<u64>(), metadata))
            .map_err(|error| ModelError::Safetensors { path: path.clone(), problem: error.to_string() })?;
        let (published, sources) = published_network(folder, &manifest)?;
        let network = fitting_network(&published, &labels, &labels_path, &metadata, &path)?;
        let locations = network
            .tensors()
            .map(|(_, spec)| locate(spec, &metadata, start, &path))
            .collect::<Result<Vec<_>, ModelError>>()?;
        let preprocessing = manifest.preprocessing();
        let id = identify(&manifest);
        let mut base = Self {
            path: folder.to_owned(),
            manifest,
            preprocessing,
            labels,
            network,
            sources,
            id,
            bytes,
            locations,
            verification: None,
            mapped: None,
        };
        base.verification = base.verify_once(&path, &file, opening)?;
        let sha256 = base.manifest.weights.sha256;
        base.mapped = (!opening.copied).then_some(MappedWeightsFile { path, file, sha256 });
        Ok(base)
    }

    /// Verifies hash and values, unless an earlier opening has. Returns the verification for the next opening, if the file
    /// system tells files apart.
    fn verify_once(&self, path: &Path, file: &File, opening: BaseOptions) -> Result<Option<Verification>, ModelError> {
        let sha256 = self.manifest.weights.sha256;
        let before = FileMark::of(file);
        if let Some(known) = opening.verification.filter(|_| !opening.copied)
            && known.sha256 == sha256
            && before == Some(known.file)
        {
            return Ok(Some(known));
        }
        self.verify_hash(path)?;
        self.verify_finite(path)?;
        let unchanged = before.filter(|mark| mark.is_settled() && FileMark::of(file) == before);
        Ok(unchanged.map(|file| Verification { file, sha256 }))
    }

    /// Returns the manifest.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the network, under the head that the model has.
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Returns the layout of a tensor in the file that the network was imported from; `None` of a built-in architecture, and
    /// of a tensor that the import added.
    pub fn source_layout(&self, id: TensorId) -> Option<&SourceLayout> {
        self.sources.get(id.index()).and_then(Option::as_ref)
    }

    /// Returns one name per class, in the order of the logits; none of a headless backbone.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Returns how images become the network's input.
    pub const fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// Returns the identity of this base.
    pub const fn id(&self) -> BaseId {
        self.id
    }

    /// Returns the model's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the verification of these weights, for the next [opening](BaseOptions::verification) of the same file. There is none for a file
    /// that was changed within the last seconds, nor where the system can't tell files apart.
    pub const fn verification(&self) -> Option<Verification> {
        self.verification
    }

    /// Returns the file of the mapped weights, to be hashed again while the base is in use; `None` for a copied base, and
    /// after the first call.
    pub const fn take_mapped_file(&mut self) -> Option<MappedWeightsFile> {
        self.mapped.take()
    }

    /// Returns a view of one tensor in its stored type.
    pub fn tensor(&self, id: TensorId) -> TensorView<'_> {
        match &self.locations[id.index()] {
            Location::Float { dtype, range } => TensorView::new(*dtype, &self.bytes[range.clone()]),
            Location::Int8 { codes, scales } => {
                TensorView::int8(&self.bytes[codes.clone()], &self.bytes[scales.clone()])
            }
        }
    }

    /// Returns every tensor, copied to the heap and converted.
    pub fn params<T: Real>(&self) -> Params<T> {
        let mut params = Params::zeros(&self.network);
        for (id, _) in self.network.tensors() {
            self.tensor(id).copy_into(&mut params[id]);
        }
        params
    }

    fn verify_hash(&self, path: &Path) -> Result<(), ModelError> {
        let (expected, found) = (self.manifest.weights.sha256, Sha256::digest(&*self.bytes).into());
        if found != expected {
            return Err(ModelError::Altered { path: path.to_owned(), expected, found });
        }
        Ok(())
    }

    fn verify_finite(&self, path: &Path) -> Result<(), ModelError> {
        for (id, spec) in self.network.tensors() {
            if let Some(index) = self.tensor(id).first_not_finite() {
                return Err(ModelError::NotFinite { path: path.to_owned(), name: spec.name.clone(), index });
            }
        }
        Ok(())
    }
}

/// Opens a file, which must have that length, and maps or reads its bytes.
fn whole_file(path: &Path, expected: u64, copied: bool) -> Result<(File, Bytes), ModelError> {
    let unreadable = |source| ModelError::read(path, source);
    let file = file::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?.len();
    if found != expected {
        return Err(ModelError::Length { path: path.to_owned(), expected, found });
    }
    let bytes = if copied { copy(&file, expected) } else { map_file(&file) };
    Ok((file, bytes.map_err(unreadable)?))
}

/// Reads no more than the expected bytes, even if the file grows meanwhile.
fn copy(file: &File, expected: u64) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    file.take(expected).read_to_end(&mut bytes)?;
    Ok(Bytes::Copied(bytes))
}

/// Returns the built-in network that the manifest names or the one that its description describes, and the layout of each
/// tensor in the file that a described network was imported from.
fn published_network(folder: &Path, manifest: &Manifest) -> Result<(Network, Vec<Option<SourceLayout>>), ModelError> {
    let Some(file) = &manifest.network else {
        return Ok((fieldfit_nets::by_name(&manifest.architecture)?, Vec::new()));
    };
    let description = NetworkDescription::read(folder, file)?;
    let (preprocessing, exported) = (manifest.preprocessing(), description.size);
    let size = preprocessing.input(preprocessing.size);
    // A network for images that are not square may accept no square at all; it has no other input to be checked for.
    let is_checked = preprocessing.fit != Fit::Crop || exported[0] == exported[1];
    if is_checked && !description.accepts(size.map(|side| side as usize)) {
        return Err(ModelError::NetworkSize { path: folder.join(&file.file), size, exported });
    }
    let network = description.network();
    Ok((network, description.tensors.into_iter().map(|tensor| tensor.source).collect()))
}

fn fitting_network(
    published: &Network,
    labels: &[String],
    labels_path: &Path,
    metadata: &Metadata,
    path: &Path,
) -> Result<Network, ModelError> {
    let tensors = metadata.tensors();
    let quantised = tensors.iter().filter(|(_, info)| info.dtype == safetensors::Dtype::I8);
    let scales: HashSet<_> = quantised.map(|(name, _)| scales_name(name)).collect();
    let weights = tensors.iter().filter(|(name, _)| !scales.contains(*name));
    let shapes = weights.map(|(name, info)| (name.as_str(), info.shape.as_slice())).collect();
    check::network(published, labels, labels_path, &shapes, path)
}

/// Returns the location of a tensor whose type can be used.
fn locate(spec: &TensorSpec, metadata: &Metadata, start: usize, path: &Path) -> Result<Location, ModelError> {
    if spec.is_empty() {
        return Ok(Location::Float { dtype: Dtype::F32, range: start..start });
    }
    let unusable = |expected, found: String| ModelError::TensorDtype {
        path: path.to_owned(),
        name: spec.name.clone(),
        expected,
        found,
    };
    let TensorInfo { dtype, data_offsets: (from, to), .. } = present(&spec.name, &spec.shape, metadata, path)?;
    let range = start + from..start + to;
    match (dtype, &spec.shape[..]) {
        (safetensors::Dtype::F32, _) => Ok(Location::Float { dtype: Dtype::F32, range }),
        (safetensors::Dtype::F16, [_, _, ..]) => Ok(Location::Float { dtype: Dtype::F16, range }),
        (safetensors::Dtype::BF16, [_, _, ..]) => Ok(Location::Float { dtype: Dtype::Bf16, range }),
        (safetensors::Dtype::I8, [rows, _, ..]) => {
            Ok(Location::Int8 { codes: range, scales: locate_scales(&spec.name, *rows, metadata, start, path)? })
        }
        (other, [_, _, ..]) => Err(unusable("F16, BF16, F32, or I8 with scales", other.to_string())),
        (other, _) => Err(unusable("F32, as every tensor of one dimension", other.to_string())),
    }
}

/// Returns where the scales of an int8 tensor lie.
fn locate_scales(
    tensor: &str,
    rows: usize,
    metadata: &Metadata,
    start: usize,
    path: &Path,
) -> Result<Range<usize>, ModelError> {
    let (name, expected) = (scales_name(tensor), vec![rows]);
    let TensorInfo { dtype, shape, data_offsets: (from, to) } = present(&name, &expected, metadata, path)?;
    let path = path.to_owned();
    if *shape != expected {
        return Err(ModelError::TensorShape {
            path,
            name,
            expected,
            found: shape.clone(),
            architecture: "the network",
        });
    }
    if *dtype != safetensors::Dtype::F32 {
        return Err(ModelError::TensorDtype { path, name, expected: "F32, as all scales", found: dtype.to_string() });
    }
    Ok(start + from..start + to)
}

/// Returns what a file says of a tensor that it must have.
fn present<'a>(name: &str, shape: &[usize], metadata: &'a Metadata, path: &Path) -> Result<&'a TensorInfo, ModelError> {
    metadata.info(name).ok_or_else(|| ModelError::TensorMissing {
        path: path.to_owned(),
        name: name.to_owned(),
        expected: shape.to_vec(),
        architecture: "the network",
    })
}

/// Returns the name that the safetensors format has for a stored type.
pub const fn safetensors_dtype(dtype: Dtype) -> safetensors::Dtype {
    match dtype {
        Dtype::F16 => safetensors::Dtype::F16,
        Dtype::Bf16 => safetensors::Dtype::BF16,
        Dtype::F32 => safetensors::Dtype::F32,
    }
}

/// Computes SHA-256 over a canonical encoding: strings after their length, numbers little-endian. Only a described network, and
/// an input that is no square, have more than the weights' hash behind them.
fn identify(manifest: &Manifest) -> BaseId {
    let Preprocessing { size, fit, crop, mean, std, filter } = manifest.preprocessing();
    let mut hash = Sha256::new();
    for text in ["fieldfit base 1", manifest.architecture.as_str(), filter.name()] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.update(size.to_le_bytes());
    for value in [crop].into_iter().chain(mean).chain(std) {
        hash.update(value.to_le_bytes());
    }
    hash.update(manifest.weights.sha256);
    if let Some(network) = &manifest.network {
        hash.update(network.sha256);
    }
    match fit {
        Fit::Crop => (),
        Fit::Whole { width } => hash.update([b"whole frame".as_slice(), &width.to_le_bytes()].concat()),
    }
    BaseId(hash.finalize().into())
}
