//! Subcommand `import-data`: copies labelled data sets of other tools into a collection.

use crate::args::ImportDataArgs;
use crate::error::{CliError, counted};
use crate::output::{Output, Text};
use crate::progress_bar::ProgressBar;
use fieldfit::Error;
use fieldfit::collect::{Collection, CutOff, Imported, Limits, import_data};
use serde::Serialize;
use std::path::Path;

/// Result for one source.
#[derive(Serialize)]
struct Source<'a> {
    source: &'a Path,
    #[serde(flatten)]
    imported: Imported,
}

pub fn run(args: &ImportDataArgs, output: &Output) -> Result<(), CliError> {
    let mut collection = Collection::open(&args.out, Limits::NONE).map_err(Error::from)?;
    let progress = ProgressBar::new(output);
    for source in &args.sources {
        progress.wait("checking");
        let mut done = |done, total| progress.images("importing", done, total);
        let imported = import_data(source, &mut collection, &args.into(), &mut done)?;
        progress.finish();
        output.show(&Source { source, imported }, text)?;
    }
    Ok(())
}

fn text(source: &Source<'_>) -> Text {
    let Imported { images, stored, known, relabelled, unlabelled, without_image, ref skipped, ref cut_off, .. } =
        source.imported;
    let images = counted(images, "labelled image", "labelled images");
    let mut text = Text::from(format!("{}: {images}, {stored} stored", source.source.display()));
    if known > 0 {
        text.line(format!("  {known} were there already"));
    }
    if relabelled > 0 {
        text.line(format!("  {relabelled} were there under another class, and have the new one now"));
    }
    if unlabelled > 0 {
        text.line(format!("  {unlabelled} without a label were left out"));
    }
    if without_image > 0 {
        text.line(format!("  {without_image} with a label and without an image were left out"));
    }
    if let Some(skipped) = skipped {
        text.line(format!("  {skipped}"));
    }
    for CutOff { path, byte, .. } in cut_off {
        text.line(format!("  {} is cut off at byte {byte}: what is whole before it was read", path.display()));
    }
    text
}
