//! Readers of labelled images in other tools' formats, record by record.
//!
//! | format | found by | label |
//! |---|---|---|
//! | image folder | folders of classes, of `train`, `val` and `test` too | the folder's name |
//! | Hugging Face `imagefolder` | `metadata.csv` or `metadata.jsonl` in a folder | a column |
//! | Roboflow | `_classes.csv` in a folder or its subsets | the column that is 1 |
//! | table | `.csv`, `.jsonl` | a column |
//! | COCO | `.json` with `images` and `annotations` | the category, of an image or of each box |
//! | CVAT for images | `.xml` with `<annotations>` | the tag of an image, or the label of each box |
//! | Label Studio | `.json` with a list of tasks | the choice, or the label of each rectangle |
//! | WebDataset | `.tar` | `KEY.cls`, or a field of `KEY.json` |
//! | recording | `.mcap`, or a rosbag2 folder with `metadata.yaml` | a topic of labels, or a table of time ranges |
//!
//! Encoded images are handed out as they are; boxes are cut out and encoded anew, raw pixels of a recording are encoded as PNG. This crate writes nothing.
//!
//! ```
//! use fieldfit_datasets::{DatasetError, SourceOptions, each_record};
//!
//! let folder = tempfile::tempdir()?;
//! std::fs::write(folder.path().join("labels.csv"), "file_name,label\n")?;
//! let mut count = 0;
//! each_record(&folder.path().join("labels.csv"), &SourceOptions::default(), |_record| {
//!     count += 1;
//!     Ok::<(), DatasetError>(())
//! })?;
//! assert_eq!(count, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod crop;
mod error;
mod format;
mod frame_label;
mod raw_image;
mod record;

pub use error::DatasetError;
pub use format::{DatasetFormat, each_record};
pub use record::{Boxes, CutOff, LabelSource, LabelledImage, ReadSummary, RecordingOptions, SourceOptions};
