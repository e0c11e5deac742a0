//! Arguments of `import-data`.

use super::parse::{duration, share};
use clap::{Args, ValueEnum};
use fieldfit::collect::{Boxes, LabelSource, SourceOptions};
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `fieldfit import-data`.
#[derive(Debug, Args)]
pub struct ImportDataArgs {
    /// Image folders, .csv or .jsonl tables, COCO or Label Studio .json, CVAT .xml, WebDataset .tar, .mcap or rosbag2 folders
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
    /// Read the images of this topic of a recording [default: the only one]
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// Label the images of a recording by the last message of this topic at or before their time
    #[arg(long, value_name = "TOPIC")]
    pub label_topic: Option<String>,
    /// Label the images of a recording by this table `from,to,class`, in seconds from its first message
    #[arg(long, value_name = "FILE", conflicts_with = "label_topic")]
    pub ranges: Option<PathBuf>,
    /// Keep this time between two images of a recording, e.g. 500ms [default: every labelled image]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub every: Option<Duration>,
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
        let labels = match (&args.label_topic, &args.ranges) {
            (Some(topic), _) => Some(LabelSource::Topic(topic.clone())),
            (None, ranges) => ranges.clone().map(LabelSource::Ranges),
        };
        let options = Self::default().with_columns(label, image, group).with_boxes(boxes);
        options.with_recording(args.topic.clone(), labels, args.every.unwrap_or_default())
    }
}
