//! Recordings as PyPI `mcap` and `rosbags` write them (`tests/peers/recordings.py`): images, labels, topics, times, and cuts.
#![allow(clippy::unwrap_used, reason = "tests")]

use fieldfit_data::Frame;
use fieldfit_datasets::{DatasetError, LabelSource, LabelledImage, ReadSummary, SourceOptions, each_record};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time of the first image, in seconds since 1970. An image follows every 2 seconds.
const START: u64 = 1_700_000_004;

fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/recordings").join(name)
}

fn frame(number: usize) -> Vec<u8> {
    fs::read(recording(&format!("frame-{number}.jpg"))).unwrap()
}

fn options(topic: Option<&str>, labels: Option<&str>, every: Duration) -> SourceOptions {
    let labels = labels.map(|topic| LabelSource::Topic(topic.into()));
    SourceOptions::default().with_recording(topic.map(str::to_owned), labels, every)
}

fn labelled() -> SourceOptions {
    options(None, Some("/label"), Duration::ZERO)
}

fn read(path: &Path, options: &SourceOptions) -> Result<(Vec<LabelledImage>, ReadSummary), DatasetError> {
    let mut records = Vec::new();
    let summary = each_record(path, options, |record| {
        records.push(record);
        Ok::<(), DatasetError>(())
    })?;
    Ok((records, summary))
}

/// Numbers of the frames that were read, with their classes. Checks bytes, times and groups.
fn frames(records: &[LabelledImage]) -> Vec<(usize, &str)> {
    let all: Vec<Vec<u8>> = (0..8).map(frame).collect();
    let number = |record: &LabelledImage| {
        let number = all.iter().position(|bytes| *bytes == record.bytes).unwrap();
        let second = START + 2 * number as u64;
        assert_eq!(record.at, Some(Duration::from_secs(second)), "{}", record.name);
        assert_eq!(record.group, Some((second / 10).to_string()));
        number
    };
    records.iter().map(|record| (number(record), record.class.as_str())).collect()
}

fn refused(path: &Path, options: &SourceOptions, words: &str) {
    let error = read(path, options).map(drop).unwrap_err();
    assert!(error.to_string().contains(words), "{error}");
    assert!(!error.path().as_os_str().is_empty());
}

/// Frames of the drive that have a label.
const LABELLED: [(usize, &str); 5] = [(1, "mud"), (2, "mud"), (3, "mud"), (4, "grass"), (5, "grass")];

/// Catches: a compression, a byte order or a file without chunks that is misread; images that are encoded anew; a label that holds
/// before its time or after its end; images near each other in two groups.
#[test]
fn every_writer_gives_the_same_labelled_images() {
    for name in ["zstd.mcap", "lz4.mcap", "none.mcap", "without-chunks.mcap", "big-endian.mcap", "bag", "bag/bag.mcap"]
    {
        let (records, summary) = read(&recording(name), &labelled()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(frames(&records), LABELLED, "{name}");
        assert_eq!((summary.unlabelled, summary.cut_off.len()), (3, 0), "{name}");
    }
    for topic in ["/camera/json", "/camera/protobuf"] {
        let options = options(Some(topic), Some("/mode"), Duration::ZERO);
        assert_eq!(frames(&read(&recording("foxglove.mcap"), &options).unwrap().0), LABELLED, "{topic}");
    }
}

/// Catches: ranges that count from the first image instead of the first message, and images between ranges that get a label.
#[test]
fn ranges_label_images_by_seconds_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("ranges.csv");
    // The first message is a second before the first image.
    fs::write(&table, "class,from,to\nsand,9,11.5\nmud,1,5\n").unwrap();
    let options = |table: &Path| {
        SourceOptions::default().with_recording(None, Some(LabelSource::Ranges(table.into())), Duration::ZERO)
    };
    let (records, _) = read(&recording("lz4.mcap"), &options(&table)).unwrap();
    assert_eq!(frames(&records), [(0, "mud"), (1, "mud"), (4, "sand"), (5, "sand")]);
    for (content, words) in [
        ("from,to\n", "expected the columns from, to, class, found from, to"),
        ("from,to,class\n1,2,mud\n3,2,mud\n", "line 3: expected a range that ends after its start, found 3 to 2"),
        ("from,to,class\n1,3,mud\n2,4,mud\n", "line 3: it overlaps the range of line 2"),
        ("from,to,class\n1,-3,mud\n", "line 2: expected seconds after the start of the recording, found `-3`"),
        ("from,to,class\nnan,3,mud\n", "line 2: expected seconds"),
        ("from,to,class\n1,1e300,mud\n", "line 2: expected seconds"),
        ("from,to,class\n1,2,\n", "line 2: `class` is empty"),
        ("from,to,class\n100,200,mud\n", "no image of /camera/compressed has a label: 8 images are at other times"),
    ] {
        fs::write(&table, content).unwrap();
        refused(&recording("lz4.mcap"), &options(&table), words);
    }
    refused(&recording("lz4.mcap"), &options(&folder.path().join("none.csv")), "none.csv");
}

/// Catches: thinning that drifts, keeps what is nearer, or counts images without a label.
#[test]
fn images_are_thinned_by_time() {
    for (milliseconds, expected) in [(2000, &[1, 2, 3, 4, 5][..]), (2001, &[1, 3, 5]), (5000, &[1, 4]), (60_000, &[1])]
    {
        let options = options(None, Some("/label"), Duration::from_millis(milliseconds));
        let (records, summary) = read(&recording("none.mcap"), &options).unwrap();
        let numbers: Vec<usize> = frames(&records).iter().map(|(number, _)| *number).collect();
        assert_eq!((&numbers[..], summary.unlabelled), (expected, 3), "{milliseconds} ms");
    }
}

/// Catches: channels in the wrong order, padding that is read as pixels, a format that is taken for another; grey images of three
/// channels.
#[test]
fn raw_images_become_png() {
    let (records, _) = read(&recording("raw.mcap"), &options(Some("/raw"), Some("/label"), Duration::ZERO)).unwrap();
    assert_eq!(records.len(), 5);
    for (number, record) in records.iter().enumerate() {
        assert!(record.bytes.starts_with(b"\x89PNG"));
        let image = Frame::Encoded(&record.bytes).to_rgb().unwrap();
        let expected = |x: u32, y: u32| [x * 40, y * 60, 7 * x + y].map(|value| value as u8);
        let grey = |x: u32, y: u32| [expected(x, y)[0]; 3];
        let is_right = image
            .enumerate_pixels()
            .all(|(x, y, pixel)| pixel.0 == if number == 4 { grey(x, y) } else { expected(x, y) });
        assert!(image.dimensions() == (5, 3) && is_right, "{}", record.name);
        assert_eq!(record.bytes[25], if number == 4 { 0 } else { 2 }, "colour type of {}", record.name);
    }
    refused(
        &recording("raw.mcap"),
        &options(Some("/depth"), Some("/label"), Duration::ZERO),
        "message 7 of /depth, at byte",
    );
    refused(
        &recording("raw.mcap"),
        &options(Some("/depth"), Some("/label"), Duration::ZERO),
        "pixels in mono16 are not read: expected rgb8, bgr8",
    );
}

/// Catches: a topic that is chosen by chance, and a refusal that does not say which topics there are.
#[test]
fn topics_are_named_where_there_is_a_choice() {
    let [raw, foxglove, zstd] = ["raw.mcap", "foxglove.mcap", "zstd.mcap"].map(recording);
    let with = |topic, labels| options(topic, labels, Duration::ZERO);
    refused(
        &raw,
        &with(None, Some("/label")),
        "it has 2 topics of images: name one of /depth (sensor_msgs/msg/Image in cdr), /raw (sensor_msgs/msg/Image in cdr) with --topic",
    );
    refused(
        &foxglove,
        &with(None, Some("/mode")),
        "/camera/protobuf (foxglove.CompressedImage in protobuf) with --topic",
    );
    refused(
        &zstd,
        &with(Some("/none"), Some("/label")),
        "it has no messages of /none: expected one of /camera/compressed (",
    );
    refused(&zstd, &with(Some("/speed"), Some("/label")), "/speed has std_msgs/msg/Float64 in cdr are not read");
    refused(&zstd, &with(None, None), "its images have no labels: name the topic of labels with --label-topic");
    refused(&zstd, &with(None, Some("/none")), "it has no messages of /none: expected one of /camera/compressed (");
    refused(
        &zstd,
        &with(None, Some("/speed")),
        "std_msgs/msg/Float64 in cdr is no label: expected std_msgs/msg/String",
    );
    refused(
        &foxglove,
        &with(Some("/camera/json"), Some("/camera/json")),
        "foxglove.CompressedImage in json is no label",
    );
}

/// Catches: a file that is cut anywhere and gives an error, a message that is not whole, or no word of the cut.
#[test]
fn a_recording_that_is_cut_off_gives_what_is_whole() {
    let (records, summary) = read(&recording("cut-off.mcap"), &labelled()).unwrap();
    assert_eq!(frames(&records), LABELLED[..1]);
    assert_eq!(summary.cut_off.len(), 1);
    let folder = tempfile::tempdir().unwrap();
    for name in ["zstd.mcap", "lz4.mcap", "none.mcap", "without-chunks.mcap"] {
        let whole = fs::read(recording(name)).unwrap();
        let path = folder.path().join("cut.mcap");
        let mut least = 0;
        for length in (8..whole.len()).step_by(29) {
            fs::write(&path, &whole[..length]).unwrap();
            match read(&path, &labelled()) {
                Ok((records, summary)) => {
                    let count = records.len();
                    assert_eq!(frames(&records), LABELLED[..count], "{name}, {length} bytes");
                    assert!(count >= least, "{name}: {count} images of {length} bytes, {least} of fewer");
                    let is_cut = summary.cut_off.first().is_some_and(|cut| cut.byte <= length as u64);
                    // Behind the messages, only the index is missing.
                    assert!(is_cut || count == LABELLED.len(), "{name}, {length} bytes");
                    least = count;
                }
                Err(DatasetError::Invalid { problem, .. }) => {
                    let begins = ["it has no", "no image of"].iter().any(|words| problem.starts_with(words));
                    assert!(begins && least == 0, "{name}, {length} bytes: {problem}");
                }
                Err(error) => panic!("{name}, {length} bytes: {error}"),
            }
        }
        assert_eq!(least, LABELLED.len(), "{name}");
    }
}

/// Catches: a byte of a file, whatever it is, that makes the reader panic or hang, or gives an image that the file does not hold where
/// a checksum covers it.
#[test]
fn damaged_recordings_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.mcap");
    for name in ["zstd.mcap", "lz4.mcap", "none.mcap", "foxglove.mcap"] {
        let whole = fs::read(recording(name)).unwrap();
        let mut refused = 0;
        for position in (8..whole.len()).step_by(41) {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[position] ^= flip;
                fs::write(&path, &damaged).unwrap();
                let options = options(None, Some("/label"), Duration::ZERO);
                refused += usize::from(read(&path, &options).is_err());
            }
        }
        assert!(refused > whole.len() / 100, "{name}: {refused} of {} are refused", whole.len());
    }
}

/// Catches: bags that another program must convert and whose refusal does not name it; files of a bag that lie elsewhere.
#[test]
fn bags_are_recognised_by_their_description() {
    refused(
        &recording("bag-sqlite"),
        &labelled(),
        "is an SQLite bag of ROS 2, which is not read: convert it with `ros2 bag convert",
    );
    refused(&recording("bag-sqlite"), &labelled(), "`rosbags-convert --src BAG");
    let folder = tempfile::tempdir().unwrap();
    let bag = folder.path().join("bag");
    fs::create_dir(&bag).unwrap();
    let of = |files: &str| format!("storage_identifier: mcap\nrelative_file_paths:\n{files}\nversion: 9\n");
    for (metadata, words) in [
        ("version: 9\n".to_owned(), "expected the storage_identifier mcap, found none"),
        (of(""), "it lists no relative_file_paths: run `ros2 bag reindex"),
        (of("- ../other.mcap"), "expected files within the folder, found ../other.mcap"),
        (of("- \"/etc/passwd\""), "expected files within the folder"),
        (of("- a_0.mcap"), "a_0.mcap"),
        (format!("compression_mode: FILE\n{}", of("- a_0.mcap.zstd")), "a bag that rosbag2 compressed"),
    ] {
        fs::write(bag.join("metadata.yaml"), metadata).unwrap();
        refused(&bag, &labelled(), words);
    }
    // A label of the first file holds in the second.
    fs::copy(recording("cut-off.mcap"), bag.join("a_0.mcap")).unwrap();
    fs::copy(recording("none.mcap"), bag.join("a_1.mcap")).unwrap();
    fs::write(bag.join("metadata.yaml"), of("  - 'a_0.mcap'\n  - bag/a_1.mcap")).unwrap();
    let (records, summary) = read(&bag, &labelled()).unwrap();
    assert_eq!(frames(&records), [&LABELLED[..1], &LABELLED].concat());
    assert_eq!((summary.cut_off.len(), &summary.cut_off[0].path), (1, &bag.join("a_0.mcap")));
}
