//! WebDataset: a tar archive whose members of one key are a sample.

use super::table::text;
use crate::error::DatasetError;
use crate::record::{LabelledImage, ReadSummary, SourceOptions, record};
use fieldfit_data::{EXTENSIONS, MAX_FILE_BYTES, json_object};
use fieldfit_durable::{open_regular, without_byte_order_mark};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use tar::EntryType;

/// Fields of a sample's JSON that are looked at for its class.
const LABEL: [&str; 4] = ["label", "class", "category", "cls"];
/// Maximum bytes of a sample's label.
const MAX_LABEL_BYTES: u64 = 1 << 20;

/// Members of one key.
#[derive(Default)]
struct Sample {
    key: String,
    image: Option<Vec<u8>>,
    class: Option<String>,
    json: Map<String, Value>,
}

/// Reads an archive member by member: those of a key are neighbours, so that one sample is in memory at a time.
pub(super) fn each_record<E: From<DatasetError>>(
    path: &Path,
    options: &SourceOptions,
    visit: &mut impl FnMut(LabelledImage) -> Result<(), E>,
) -> Result<ReadSummary, E> {
    let invalid = |record: &str, problem: String| DatasetError::Record {
        path: path.to_owned(),
        record: record.to_owned(),
        problem,
    };
    let file = open_regular(path).map_err(DatasetError::from)?;
    let mut archive = tar::Archive::new(BufReader::new(file));
    let broken = |error: std::io::Error| invalid("the archive", format!("it is no whole tar archive ({error})"));
    let (mut sample, mut summary) = (Sample::default(), ReadSummary::default());
    for member in archive.entries().map_err(broken)? {
        let mut member = member.map_err(broken)?;
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let Some((key, extension)) = split(&name) else { continue };
        let extension = extension.to_ascii_lowercase();
        let is_image = EXTENSIONS.contains(&extension.as_str());
        let is_read = is_image || matches!(extension.as_str(), "cls" | "txt" | "json");
        match member.header().entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {}
            EntryType::Link | EntryType::Symlink if is_read => {
                let advice = "archive the files themselves, `tar --dereference --hard-dereference`";
                return Err(invalid(&name, format!("it is a link: {advice}")).into());
            }
            _folder_or_device => continue,
        }
        if key != sample.key {
            let whole = std::mem::replace(&mut sample, Sample { key: key.to_owned(), ..Sample::default() });
            whole.visit(path, options, visit, &mut summary)?;
        }
        if !is_read {
            continue;
        }
        let limit = if is_image { MAX_FILE_BYTES } else { MAX_LABEL_BYTES };
        if member.size() > limit {
            return Err(invalid(&name, format!("it has {} bytes, and at most {limit} are read", member.size())).into());
        }
        let mut content = Vec::new();
        member.read_to_end(&mut content).map_err(|error| invalid(&name, format!("it is cut short ({error})")))?;
        sample.set(&extension, content).map_err(|problem| invalid(&name, problem))?;
    }
    let has_end = ends_with_zeros(archive.into_inner().into_inner()).map_err(broken)?;
    if !has_end {
        let problem = "it is no whole tar archive (the zeros at its end are missing): copy it again".into();
        return Err(invalid("the archive", problem).into());
    }
    sample.visit(path, options, visit, &mut summary)?;
    Ok(summary)
}

/// Bytes of a block of an archive.
const BLOCK_BYTES: u64 = 512;

/// Whether the last block of a file is zeros, as that of each whole archive.
fn ends_with_zeros(mut file: File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let mut block = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(BLOCK_BYTES)))?;
    file.read_to_end(&mut block)?;
    Ok(length >= BLOCK_BYTES && block.iter().all(|byte| *byte == 0))
}

/// Key and extension of a member's name: the extension begins at the first dot of the file's name.
fn split(name: &str) -> Option<(&str, &str)> {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = file + name[file..].find('.').filter(|dot| *dot > 0)?;
    Some((&name[..dot], &name[dot + 1..]))
}

impl Sample {
    fn set(&mut self, extension: &str, content: Vec<u8>) -> Result<(), String> {
        match extension {
            "json" => {
                self.json = json_object(without_byte_order_mark(&content))
                    .map_err(|error| format!("it is no JSON object ({error})"))?
            }
            "cls" | "txt" => {
                let class = str::from_utf8(without_byte_order_mark(&content)).map_err(|_| "it is no text")?;
                let is_first = self.class.is_none() || extension == "cls";
                self.class = if is_first { Some(class.trim().to_owned()) } else { self.class.take() };
            }
            _ if self.image.is_some() => return Err("its sample has two images".into()),
            _image => self.image = Some(content),
        }
        Ok(())
    }

    fn visit<E: From<DatasetError>>(
        self,
        path: &Path,
        options: &SourceOptions,
        visit: &mut impl FnMut(LabelledImage) -> Result<(), E>,
        summary: &mut ReadSummary,
    ) -> Result<(), E> {
        let Self { key, image, class, json } = self;
        let Some(bytes) = image else {
            summary.without_image += usize::from(class.is_some() || !json.is_empty());
            return Ok(());
        };
        let field = |name: &str| json.get(name).and_then(text);
        // A name in the JSON is worth more than a number in `cls`.
        let label = match &options.label_column {
            Some(column) => field(column),
            None => LABEL.iter().find_map(|name| field(name)).or(class),
        };
        let label = label.filter(|label| !label.is_empty()).ok_or_else(|| DatasetError::Record {
            path: path.to_owned(),
            record: key.clone(),
            problem: "it has no class: expected a member .cls, or a field of .json named with --label-column".into(),
        })?;
        let group = options.group_column.as_deref().and_then(field).or_else(|| field("group"));
        visit(record(path, key, bytes, label, group)?)
    }
}
