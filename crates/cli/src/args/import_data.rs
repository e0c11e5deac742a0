//! Arguments of `import-data`.

use super::parse::share;
use clap::{Args, ValueEnum};
use fieldfit::collect::{Boxes, SourceOptions};
use std::path::PathBuf;

/// Arguments of `fieldfit import-data`.
#[derive(Debug, Args)]
pub struct ImportDataArgs {
    /// Image folders, .csv or .jsonl tables, COCO or Label Studio .json, WebDataset .tar
    #[arg(value_name = "SOURCE", required = true)]
    pub sources: Vec<PathBuf>,
    /// Store images in this collection; created if missing
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Read the class from this column or field [default: label, class, category or labels]
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,
    /// Read the image's file from this column [default: file_name, image, path, filename or file]
    #[arg(long, value_name = "NAME")]
    pub image_column: Option<String>,
    /// Keep images together that are equal in this column: recording, sequence, object
    #[arg(long, value_name = "NAME")]
    pub group_column: Option<String>,
    /// Use boxes as the label of their image, or cut each out as an image of its own
    #[arg(long, value_enum, default_value_t = BoxesName::Label)]
    pub boxes: BoxesName,
    /// Widen each box by this share of its sides before it is cut out
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "10%")]
    pub pad: f32,
}

/// Use of boxes by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BoxesName {
    /// The image's label, if its boxes agree.
    Label,
    /// An image for each box.
    Crop,
}

impl From<&ImportDataArgs> for SourceOptions {
    fn from(args: &ImportDataArgs) -> Self {
        let boxes = match args.boxes {
            BoxesName::Label => Boxes::Label,
            BoxesName::Crop => Boxes::Crop { pad: args.pad },
        };
        let columns = [&args.label_column, &args.image_column, &args.group_column].map(Clone::clone);
        let [label, image, group] = columns;
        Self::default().with_columns(label, image, group).with_boxes(boxes)
    }
}
