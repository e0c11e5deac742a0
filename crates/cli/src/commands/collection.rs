//! Subcommands of `collection`: show, relabel, discard, forget and export images.

use crate::args::{CollectionCommand, DiscardArgs, ExportArgs, ForgetArgs, RelabelArgs, ShowArgs};
use crate::error::{CliError, counted};
use crate::output::{Output, Table, Text, bytes};
use fieldfit::Error;
use fieldfit::collect::{Collection, Contents, ExportedImages, ImageId, Label, Limits, Statistics, StoredImage};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Image as `collection show --images` prints it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    image: &'a StoredImage,
    file: PathBuf,
    #[serde(flatten)]
    label: &'a Label,
}

/// Result of a command that changes images.
#[derive(Serialize)]
struct Changed {
    changed: usize,
    /// Images that are left.
    images: usize,
}

pub fn run(command: &CollectionCommand, output: &Output) -> Result<(), CliError> {
    match command {
        CollectionCommand::Show(args) => show(args, output),
        CollectionCommand::Relabel(args) => relabel(args, output),
        CollectionCommand::Discard(args) => discard(args, output),
        CollectionCommand::Forget(args) => forget(args, output),
        CollectionCommand::Export(args) => export(args, output),
    }
}

fn show(args: &ShowArgs, output: &Output) -> Result<(), CliError> {
    let contents = read(&args.collection)?;
    if !args.images {
        return output.show(&contents.statistics(), statistics_text);
    }
    let shown = |(image, label)| Shown { image, file: contents.file(image), label };
    if output.is_json() {
        return contents.images().map(shown).try_for_each(|image| output.object(&image));
    }
    let mut table = Table::new(&["image", "class", "origin", "group", "seen", "size"], 4);
    for (image, label) in contents.images() {
        table.row([
            image.id.to_string()[..SHORT].to_owned(),
            label.class.clone(),
            label.origin.to_string(),
            image.group.clone().unwrap_or_default(),
            image.seen.to_string(),
            bytes(image.bytes),
        ]);
    }
    let mut text = Text::default();
    text.table(&table);
    output.text(text)
}

/// Digits of an image's identity that are shown.
const SHORT: usize = 16;

fn statistics_text(statistics: &Statistics) -> Text {
    let mut table = Table::new(&["class", "images", "by origin"], 1);
    for (class, origins) in &statistics.classes {
        let parts: Vec<String> = origins.iter().map(|(origin, count)| format!("{count} {origin}")).collect();
        table.row([class.clone(), origins.values().sum::<usize>().to_string(), parts.join(", ")]);
    }
    let mut text = Text::default();
    text.table(&table);
    let Statistics { images, bytes: length, seen, groups, .. } = statistics;
    let (images, groups) = (counted(*images, "image", "images"), counted(*groups, "group", "groups"));
    text.line(format!("{images} in {groups}, {}, seen in {seen} frames", bytes(*length)));
    text
}

fn relabel(args: &RelabelArgs, output: &Output) -> Result<(), CliError> {
    let mut collection = open(&args.collection)?;
    let images = resolve(collection.contents(), &args.images)?;
    collection.relabel(&images, &(&args.label).into()).map_err(Error::from)?;
    changed(images.len(), "relabelled", &collection, output)
}

fn discard(args: &DiscardArgs, output: &Output) -> Result<(), CliError> {
    let mut collection = open(&args.collection)?;
    let images = resolve(collection.contents(), &args.images)?;
    collection.discard(&images).map_err(Error::from)?;
    changed(images.len(), "removed", &collection, output)
}

fn forget(args: &ForgetArgs, output: &Output) -> Result<(), CliError> {
    let mut collection = open(&args.collection)?;
    let seconds = |time: jiff::Timestamp| u64::try_from(time.as_second()).unwrap_or(0);
    let removed = collection.forget(seconds(args.from), seconds(args.to)).map_err(Error::from)?;
    changed(removed, "removed", &collection, output)
}

fn export(args: &ExportArgs, output: &Output) -> Result<(), CliError> {
    let exported = read(&args.collection)?.export(&args.out, args.format).map_err(Error::from)?;
    output.show(&exported, |ExportedImages { images, classes, .. }| {
        let (images, classes) = (counted(*images, "image", "images"), counted(*classes, "class", "classes"));
        format!("{}: {images} of {classes}", args.out.display())
    })
}

fn changed(count: usize, what: &str, collection: &Collection, output: &Output) -> Result<(), CliError> {
    let changed = Changed { changed: count, images: collection.contents().len() };
    output.show(&changed, |Changed { changed, images }| {
        format!("{} {what}, {} left", counted(*changed, "image", "images"), counted(*images, "image", "images"))
    })
}

fn read(path: &Path) -> Result<Contents, CliError> {
    Ok(Contents::read(path).map_err(Error::from)?)
}

/// Opens a collection that is there for writing, without limits: what is kept is the collecting process's to decide.
fn open(path: &Path) -> Result<Collection, CliError> {
    read(path)?;
    Ok(Collection::open(path, Limits::NONE).map_err(Error::from)?)
}

/// Returns the images whose identities begin with these digits, each of which names one.
fn resolve(contents: &Contents, prefixes: &[String]) -> Result<Vec<ImageId>, CliError> {
    let one = |prefix: &String| {
        let ids = contents.images().map(|(image, _)| image.id);
        let found: Vec<ImageId> = ids.filter(|id| id.to_string().starts_with(prefix.as_str())).collect();
        match found.as_slice() {
            [id] => Ok(*id),
            found => Err(CliError::ImagePrefix {
                path: contents.path().to_owned(),
                prefix: prefix.clone(),
                found: found.len(),
            }),
        }
    };
    prefixes.iter().map(one).collect()
}
