//! Recordings: the images of a topic of an MCAP file or rosbag2 folder, each with the label that holds at its time.
//!
//! A recording is read twice: first for its topics, its start and its labels, then for its images. Times are those of recording
//! (`log_time`), which every message has.

use super::time_range;
use crate::error::DatasetError;
use crate::frame_label::FrameLabels;
use crate::raw_image::encode_png;
use crate::record::{CutOff, LabelSource, LabelledImage, ReadSummary, RecordingOptions, record};
use fieldfit_recording::{ImageFormat, ImageMessage, Message, MessageReader, TextFormat, files};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Length of the stretches of a recording that are one group, as the collector has them.
const BLOCK: Duration = Duration::from_secs(10);
/// Maximum number of label messages, and of bytes of all their texts.
const MAX_LABELS: usize = 1 << 20;

/// Reads the labelled images of a recording.
pub(super) fn each_record<E: From<DatasetError>>(
    path: &Path,
    options: &RecordingOptions,
    visit: &mut impl FnMut(LabelledImage) -> Result<(), E>,
) -> Result<ReadSummary, E> {
    let files = files(path).map_err(DatasetError::from)?;
    let survey = Survey::of(&files, options)?;
    let topic = survey.image_topic(path, options)?;
    let labels = survey.labels(path, options)?;
    let mut summary = ReadSummary { cut_off: survey.cut_off.clone(), ..ReadSummary::default() };
    let (mut last, mut labelled) = (None, 0_usize);
    for file in &files {
        let mut reader = MessageReader::open(file).map_err(DatasetError::from)?;
        while let Some(message) = reader.next_message().map_err(DatasetError::from)? {
            if message.channel.topic != topic {
                continue;
            }
            let Some(class) = labels.at(message.log_time) else {
                summary.unlabelled += 1;
                continue;
            };
            labelled += 1;
            if is_due(message.log_time, last, options.every) {
                last = Some(message.log_time);
                visit(image(file, &message, class)?)?;
            }
        }
    }
    if labelled > 0 {
        return Ok(summary);
    }
    let problem = format!("no image of {topic} has a label: {} images are at other times", summary.unlabelled);
    Err(DatasetError::Invalid { path: path.to_owned(), problem }.into())
}

/// Whether enough time has passed since the last image, or the clock went back.
fn is_due(time: u64, last: Option<u64>, every: Duration) -> bool {
    last.is_none_or(|last| time < last || u128::from(time - last) >= every.as_nanos())
}

/// The labelled image of a message.
fn image(file: &Path, message: &Message<'_>, class: &str) -> Result<LabelledImage, DatasetError> {
    let name = message.place();
    let invalid = |problem: String| DatasetError::Record { path: file.to_owned(), record: name.clone(), problem };
    let format = ImageFormat::of(message.channel).ok_or_else(|| invalid(unread(&message.channel.type_text())))?;
    let bytes = match format.decode(message.data).map_err(invalid)? {
        ImageMessage::Encoded(bytes) => bytes.into_owned(),
        ImageMessage::Raw(image) => encode_png(&image).map_err(invalid)?,
    };
    let at = Duration::from_nanos(message.log_time);
    let block = (at.as_nanos() / BLOCK.as_nanos()).to_string();
    let record = record(file, name.clone(), bytes, class.to_owned(), Some(block))?;
    Ok(LabelledImage { at: Some(at), ..record })
}

fn unread(found: &str) -> String {
    format!(
        "{found} are not read: expected sensor_msgs/msg/CompressedImage or sensor_msgs/msg/Image in cdr, or \
         foxglove.CompressedImage in json or protobuf"
    )
}

/// What a recording holds besides its images.
#[derive(Debug, Default)]
struct Survey {
    /// Type of each topic, and whether its images are read.
    topics: BTreeMap<String, (String, bool)>,
    /// Time of the first message.
    start: Option<u64>,
    /// Times and texts of the labels.
    labels: Vec<(u64, String)>,
    cut_off: Vec<CutOff>,
}

impl Survey {
    fn of(files: &[PathBuf], options: &RecordingOptions) -> Result<Self, DatasetError> {
        let mut survey = Self::default();
        let label_topic = match &options.labels {
            Some(LabelSource::Topic(topic)) => Some(topic.as_str()),
            Some(LabelSource::Ranges(_)) | None => None,
        };
        let mut bytes = 0;
        for file in files {
            let mut reader = MessageReader::open(file)?;
            while let Some(message) = reader.next_message()? {
                survey.start = Some(survey.start.map_or(message.log_time, |start| start.min(message.log_time)));
                if !survey.topics.contains_key(&message.channel.topic) {
                    let seen = (message.channel.type_text(), ImageFormat::of(message.channel).is_some());
                    survey.topics.insert(message.channel.topic.clone(), seen);
                }
                if label_topic == Some(&message.channel.topic) {
                    let text = label(file, &message)?;
                    bytes += text.len();
                    survey.labels.push((message.log_time, text));
                }
                if survey.labels.len() > MAX_LABELS || bytes > MAX_LABELS * 16 {
                    let problem = format!("it has more than {MAX_LABELS} labels: use --ranges");
                    return Err(DatasetError::Invalid { path: file.clone(), problem });
                }
            }
            survey.cut_off.extend(reader.cut_at().map(|byte| CutOff { path: file.clone(), byte }));
        }
        Ok(survey)
    }

    /// The topic whose images are taken: the one that is named, or the only one.
    fn image_topic<'a>(&'a self, path: &Path, options: &'a RecordingOptions) -> Result<&'a str, DatasetError> {
        let invalid = |problem: String| Err(DatasetError::Invalid { path: path.to_owned(), problem });
        if let Some(topic) = &options.topic {
            return match self.topics.get(topic) {
                Some((_, true)) => Ok(topic),
                Some((found, false)) => invalid(format!("{topic} has {}", unread(found))),
                None => invalid(format!("it has no messages of {topic}: expected one of {}", self.listed(|_| true))),
            };
        }
        let topics: Vec<&str> =
            self.topics.iter().filter(|(_, (_, is_read))| *is_read).map(|(name, _)| name.as_str()).collect();
        match topics[..] {
            [topic] => Ok(topic),
            [] => invalid(format!("it has no images that are read, found {}", self.listed(|_| true))),
            [..] => invalid(format!(
                "it has {} topics of images: name one of {} with --topic",
                topics.len(),
                self.listed(|is_read| is_read)
            )),
        }
    }

    fn labels(&self, path: &Path, options: &RecordingOptions) -> Result<FrameLabels, DatasetError> {
        let invalid = |problem: String| Err(DatasetError::Invalid { path: path.to_owned(), problem });
        match &options.labels {
            Some(LabelSource::Topic(topic)) if self.labels.is_empty() => {
                invalid(format!("it has no messages of {topic}: expected one of {}", self.listed(|_| true)))
            }
            Some(LabelSource::Topic(_)) => Ok(FrameLabels::of_messages(self.labels.clone())),
            Some(LabelSource::Ranges(table)) => {
                Ok(FrameLabels::of_ranges(self.start.unwrap_or(0), time_range::read(table)?))
            }
            None => invalid(format!(
                "its images have no labels: name the topic of labels with --label-topic, or give a table with --ranges; \
                 its topics are {}",
                self.listed(|_| true)
            )),
        }
    }

    /// The topics with their types, those that are read as images or not.
    fn listed(&self, filter: impl Fn(bool) -> bool) -> String {
        let topics = self.topics.iter().filter(|(_, (_, is_read))| filter(*is_read));
        let topics: Vec<String> = topics.map(|(topic, (found, _))| format!("{topic} ({found})")).collect();
        if topics.is_empty() { "no messages".into() } else { topics.join(", ") }
    }
}

/// The text of a label message.
fn label(file: &Path, message: &Message<'_>) -> Result<String, DatasetError> {
    let invalid = |problem: String| DatasetError::Record { path: file.to_owned(), record: message.place(), problem };
    let Some(format) = TextFormat::of(message.channel) else {
        let found = message.channel.type_text();
        return Err(invalid(format!("{found} is no label: expected std_msgs/msg/String in cdr, or json")));
    };
    format.decode(message.data).map_err(invalid)
}
