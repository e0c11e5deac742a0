//! Recording writer: what it writes is read back, by this crate; `tests/peers/recordings.py` reads it by PyPI `mcap`.
#![allow(clippy::unwrap_used, reason = "tests")]

use fieldfit_recording::{ImageFormat, ImageMessage, MessageReader, RecordedFrame, RecordingWriter};
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::time::Duration;

fn frame(number: u64) -> RecordedFrame<'static> {
    RecordedFrame {
        time: Duration::new(1_700_000_000 + number, 5),
        image: b"\xff\xd8\xff image",
        format: "jpeg",
        lines: &["93.1 %  plant", " 6.9 %  fa\"ce"],
        answer: r#"{"image":"a.jpg","top":[]}"#,
    }
}

/// Catches: images that are encoded anew, messages of a frame at different times, an answer or a text that is lost, a file without
/// its end.
#[test]
fn frames_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.mcap");
    let mut writer = RecordingWriter::new(File::create(&path).unwrap()).unwrap();
    (0..3).for_each(|number| writer.write(&frame(number)).unwrap());
    writer.finish().unwrap();
    let mut reader = MessageReader::open(&path).unwrap();
    let mut topics = Vec::new();
    while let Some(message) = reader.next_message().unwrap() {
        let number = topics.len() as u64 / 3;
        assert_eq!(message.log_time, (1_700_000_000 + number) * 1_000_000_000 + 5);
        if let Some(format) = ImageFormat::of(message.channel) {
            assert_eq!(format.decode(message.data), Ok(ImageMessage::Encoded(frame(0).image.into())));
        } else if message.channel.schema == "fieldfit.Answer" {
            assert_eq!(message.data, frame(0).answer.as_bytes());
        } else {
            let annotations: serde_json::Value = serde_json::from_slice(message.data).unwrap();
            let texts = annotations["texts"].as_array().unwrap();
            assert_eq!((texts.len(), &texts[1]["text"]), (2, &" 6.9 %  fa\"ce".into()));
        }
        topics.push(message.channel.topic.clone());
    }
    assert_eq!(topics, ["/camera", "/fieldfit/annotations", "/fieldfit/answer"].repeat(3));
    assert_eq!(reader.cut_at(), None);
    assert!(fs::read(&path).unwrap().ends_with(b"\x89MCAP0\r\n"));
}

/// Disk that is full after some bytes.
struct FullDisk(u64);

impl Write for FullDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for FullDisk {
    fn seek(&mut self, _to: SeekFrom) -> io::Result<u64> {
        Ok(0)
    }
}

/// Catches: a full disk that is found out when the recording is opened, or panics.
#[test]
fn a_full_disk_is_an_error() {
    for space in (0..6000).step_by(97) {
        let written = RecordingWriter::new(FullDisk(space)).and_then(|mut writer| {
            (0..3).try_for_each(|number| writer.write(&frame(number)))?;
            writer.finish().map(drop)
        });
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull, "{space} bytes");
    }
}
