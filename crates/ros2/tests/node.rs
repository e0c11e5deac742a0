//! The node without a network: what it answers, refuses and changes, with the shipped base.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use fieldfit::collect::{Collector, CollectorOptions, Label, ModelOutput, Origin, Selection, Span};
use fieldfit::{Device, Frame, PixelFormat, Pixels, Rect, Runtime};
use fieldfit_ros2::image::CameraImage;
use fieldfit_ros2::lifecycle::{State, Transition};
use fieldfit_ros2::msg::builtin_interfaces::Time;
use fieldfit_ros2::msg::diagnostic_msgs::DiagnosticStatus;
use fieldfit_ros2::msg::fieldfit_interfaces::LabelRequest;
use fieldfit_ros2::msg::lifecycle_msgs::{ChangeStateRequest, Transition as TransitionMessage};
use fieldfit_ros2::msg::rcl_interfaces::{Parameter, SetParametersRequest};
use fieldfit_ros2::msg::sensor_msgs::{CompressedImage, Image};
use fieldfit_ros2::msg::std_msgs::Header;
use fieldfit_ros2::msg::vision_msgs::{BoundingBox2D, Classification, Detection2D, Detection2DArray, Point2D, Pose2D};
use fieldfit_ros2::{Answer, Classify, Events, Node, Parameters, Value};
use serde_json::Value as Json;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::Duration;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/efficientnet-lite0");

fn parameters() -> Parameters {
    let mut parameters = Parameters { model: MODEL.into(), ..Parameters::default() };
    parameters.declare("threads", Value::Integer(1)).unwrap();
    parameters
}

/// An active node, and its events.
fn active(parameters: Parameters) -> (Node, Receiver<String>) {
    let (events, lines) = Events::channel();
    let node = Node::new("/robot/fieldfit", parameters, events);
    for transition in [Transition::Configure, Transition::Activate] {
        node.change(transition).unwrap();
    }
    (node, lines)
}

/// Pixels that no two seeds share.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 16) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn header(sec: i32) -> Header {
    Header { stamp: Time { sec, nanosec: 500 }, frame_id: "camera_optical".into() }
}

fn image(sec: i32) -> Image {
    let (width, height) = (64, 48);
    let data = noise(sec as u32, width * height * 3);
    Image {
        header: header(sec),
        width: width as u32,
        height: height as u32,
        step: 3 * width as u32,
        encoding: "bgr8".into(),
        data,
        ..Image::default()
    }
}

/// The next answer; `None` once the node has ended.
fn next_answer(node: &Node) -> Option<Answer> {
    let mut answer = None;
    while answer.is_none() && node.answer(|found| answer = Some(found)) {}
    answer
}

fn answered(node: &Node) -> Classification {
    match next_answer(node) {
        Some(Answer::Image(classification)) => classification,
        other => panic!("{other:?}"),
    }
}

fn figure(node: &Node, key: &str) -> String {
    let status = node.report().status.remove(0);
    status.values.into_iter().find(|figure| figure.key == key).unwrap().value
}

/// Catches: another header than the image's, channels in another order, more classes than asked for.
#[test]
fn an_image_is_answered_under_its_own_header_by_the_runtimes_classes() {
    let (node, _lines) = active(Parameters { top_k: 3, ..parameters() });
    let image = image(7);
    node.image(CameraImage::Raw(image.clone()));
    let answer = answered(&node);
    assert_eq!(answer.header, header(7));
    let runtime = Runtime::open(MODEL, Device::Cpu { threads: 1 }).unwrap();
    let frame = Frame::Pixels(Pixels::packed(&image.data, PixelFormat::Bgr8, 64, 48));
    let prediction = runtime.infer(&frame).unwrap();
    let expected: Vec<_> =
        prediction.top().take(3).map(|ranked| (ranked.label, f64::from(ranked.probability))).collect();
    let found: Vec<_> = answer.results.iter().map(|result| (result.class_id.as_str(), result.score)).collect();
    assert_eq!(found, expected);

    let least = Parameter { name: "min_probability".into(), value: Value::Double(expected[1].1).message() };
    let (response, event) = node.set_parameters(SetParametersRequest { parameters: vec![least] });
    assert!(response.results[0].successful, "{response:?}");
    assert_eq!(event.unwrap().changed_parameters[0].name, "min_probability");
    node.image(CameraImage::Raw(image));
    assert_eq!(answered(&node).results.len(), 2);
}

/// Catches: a queue of old images; an image that is lost without being counted.
#[test]
fn the_newest_image_is_answered_and_the_others_are_counted() {
    let (node, _lines) = active(parameters());
    (1..=5).for_each(|sec| node.image(CameraImage::Raw(image(sec))));
    assert_eq!(answered(&node).header, header(5));
    let counts = ["received", "answered", "dropped", "skipped"].map(|key| figure(&node, key));
    assert_eq!(counts, ["5", "1", "4", "0"]);
}

/// Catches: an image that ends the node, or a refusal that nobody hears of.
#[test]
fn images_that_are_refused_are_told_and_the_next_one_is_answered() {
    let (node, lines) = active(parameters());
    let bad = [
        Image { encoding: "bayer_rggb8".into(), ..image(1) },
        Image { encoding: "mono16".into(), is_bigendian: 1, ..image(1) },
        Image { step: 5, ..image(1) },
        Image { data: vec![0; 9], ..image(1) },
        Image { width: 0, ..image(1) },
        Image { width: u32::MAX, height: u32::MAX, step: u32::MAX, ..image(1) },
    ];
    let count = bad.len();
    // One after another: the next replaces one that waits.
    std::thread::scope(|scope| {
        let node = &node;
        let answer = scope.spawn(move || answered(node));
        for (refused, image) in (1..).zip(bad) {
            node.image(CameraImage::Raw(image));
            while node.counters().refused.get() < refused {
                std::thread::yield_now();
            }
        }
        node.image(CameraImage::Compressed(CompressedImage { data: b"no image".into(), ..Default::default() }));
        while node.counters().failed.get() < 1 {
            std::thread::yield_now();
        }
        node.image(CameraImage::Raw(image(2)));
        assert_eq!(answer.join().unwrap().header, header(2));
    });
    let status = node.report().status.remove(0);
    assert_eq!(status.level, DiagnosticStatus::WARN);
    assert!(status.message.starts_with("7 images were not answered: "), "{}", status.message);
    let told = lines.try_iter().filter(|line| line.contains("image_refused")).count();
    assert_eq!(told, count + 1);
}

/// Catches: a box of another image, one that is moved, a class at another place, a box outside that is answered.
#[test]
fn boxes_are_classified_as_parts_of_the_image_with_their_stamp() {
    let (node, _lines) = active(Parameters { classify: Classify::Detections, ..parameters() });
    (1..=3).for_each(|sec| node.image(CameraImage::Raw(image(sec))));
    let bbox = |x, y, size| BoundingBox2D {
        center: Pose2D { position: Point2D { x, y }, theta: 0.0 },
        size_x: size,
        size_y: size,
    };
    let detection = |bbox, id: &str| Detection2D { header: header(2), bbox, id: id.into(), ..Detection2D::default() };
    let detections = vec![
        detection(bbox(20.0, 20.0, 16.0), "inside"),
        detection(bbox(500.0, 20.0, 16.0), "outside"),
        detection(bbox(40.0, 30.0, 20.0), "other"),
    ];
    node.detections(Detection2DArray { header: header(2), detections });
    let Some(Answer::Detections(answer)) = next_answer(&node) else { panic!("no detections") };
    assert_eq!(answer.header, header(2));
    let runtime = Runtime::open(MODEL, Device::Cpu { threads: 1 }).unwrap();
    let data = image(2).data;
    let frame = Frame::Pixels(Pixels::packed(&data, PixelFormat::Bgr8, 64, 48));
    for (index, rect) in [(0, [12, 12, 16]), (2, [30, 20, 20])] {
        let [left, top, side] = rect;
        let crop = frame.crop(Rect { left, top, width: side, height: side }).unwrap();
        let expected = runtime.infer(&crop).unwrap();
        let found = &answer.detections[index].results[0].hypothesis;
        assert_eq!(found.class_id, expected.best().unwrap().label);
        assert_eq!(found.score, f64::from(expected.best().unwrap().probability));
    }
    assert_eq!(answer.detections[1].results, []);
    assert_eq!(answer.detections[2].id, "other");
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| next_answer(&node));
        node.detections(Detection2DArray { header: header(99), ..Detection2DArray::default() });
        while node.counters().refused.get() == 0 {
            std::thread::yield_now();
        }
        node.end();
        assert_eq!(answer.join().unwrap(), None);
    });
}

/// Catches: a service that does something in a state without an engine, a failed configuration that changes the state, a node
/// that goes on answering once it is inactive.
#[test]
fn the_life_cycle_decides_what_the_node_does() {
    let (events, lines) = Events::channel();
    let node = Node::new("/fieldfit", Parameters { model: "/nowhere".into(), ..parameters() }, events);
    let request = |id, label: &str| ChangeStateRequest { transition: TransitionMessage { id, label: label.into() } };
    let rollback = node.rollback();
    assert_eq!((rollback.success, node.state()), (false, State::Unconfigured));
    assert!(rollback.message.contains("configure it first"), "{}", rollback.message);
    assert!(!node.change_state(&request(3, "activate")).0.success);
    assert!(!node.change_state(&request(1, "configure")).0.success);
    assert_eq!(node.get_state().current_state.label, "unconfigured");
    let status = node.report().status.remove(0);
    assert_eq!(status.level, DiagnosticStatus::ERROR);
    assert!(status.message.contains("/nowhere"), "{}", status.message);
    assert!(lines.try_iter().any(|line| line.contains(r#""node":"failed""#)));

    let (node, _lines) = active(parameters());
    node.image(CameraImage::Raw(image(1)));
    let (response, event) = node.change_state(&request(0, "deactivate"));
    assert!(response.success);
    assert_eq!(event.unwrap().goal_state.label, "inactive");
    let labels = node.available_transitions().available_transitions;
    let labels: Vec<_> = labels.iter().map(|found| found.transition.label.as_str()).collect();
    assert_eq!(labels, ["cleanup", "activate", "shutdown"]);
    assert!(node.change_state(&request(3, "")).0.success);
    node.image(CameraImage::Raw(image(2)));
    assert_eq!(answered(&node).header, header(2), "the image before is gone");
    assert!(node.change_state(&request(7, "")).0.success);
    assert_eq!(node.state(), State::Finalized);
    assert!(!node.change_state(&request(1, "")).0.success);
}

/// Catches: a refusal without a reason, a version that is confirmed though none runs.
#[test]
fn services_say_why_they_refuse() {
    let (node, lines) = active(parameters());
    let responses = [
        (node.adapt(), "no collection"),
        (node.stop_adaptation(), "no adaptation is running"),
        (node.confirm(), "the base runs"),
        (node.rollback(), "store"),
        (node.label(&LabelRequest { class_name: "mud".into(), seconds: 1.0 }), "no collection"),
    ];
    for (response, reason) in responses {
        assert!(!response.success && response.message.contains(reason), "{response:?}");
    }
    node.label_text("{\"class\":");
    assert!(lines.try_iter().filter(|line| line.contains("label_refused")).count() == 2);
}

/// Catches: a label that is not stored, or is stored for other images than those of the last seconds.
#[test]
fn labels_keep_the_images_of_the_last_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let collection = folder.path().join("collection");
    let (node, lines) = active(Parameters { collection: Some(collection.clone()), ..parameters() });
    for sec in 1..=4 {
        node.image(CameraImage::Raw(image(sec)));
        answered(&node);
    }
    let response = node.label(&LabelRequest { class_name: "mud".into(), seconds: 2.0 });
    assert_eq!(response.message, "3 images labelled, 0 left out");
    node.label_text("ice");
    let events: Vec<Json> = lines.try_iter().map(|line| serde_json::from_str(&line).unwrap()).collect();
    let labelled = events.iter().rfind(|event| event["node"] == "labelled").unwrap();
    assert_eq!((&labelled["class"], &labelled["images"]), (&"ice".into(), &1.into()));
    for (class, seconds) in [("../up", 1.0), ("mud", -1.0), ("mud", f64::NAN), ("", 1.0)] {
        assert!(!node.label(&LabelRequest { class_name: class.into(), seconds }).success, "{class} {seconds}");
    }
    node.end();
    let statistics = fieldfit::collect::Contents::read(&collection).unwrap().statistics();
    assert_eq!(statistics.images, 3, "the newest was labelled anew");
}

/// Catches: an adaptation that never begins, that cannot be stopped, holds up the frames, is lost, or cannot be rolled back.
#[test]
fn a_node_adapts_beside_its_frames_and_rolls_back() {
    let folder = tempfile::tempdir().unwrap();
    let [collection, store] = ["collection", "store"].map(|name| folder.path().join(name));
    collect(&collection);
    let adaptation = r#"{"size":32,"epochs":10000}"#.to_owned();
    let parameters = Parameters { collection: Some(collection), store: Some(store), adaptation, ..parameters() };
    let (node, lines) = active(parameters.clone());
    assert!(node.adapt().success);
    assert!(node.adapt().message.contains("is running"), "one at a time");
    assert!(node.stop_adaptation().success);
    assert_eq!(answered_until_its_end(&node, &lines)["node"], "adaptation_failed");

    let probe = Value::Text(r#"{"method":"linear-probe","size":32,"epochs":1}"#.into()).message();
    let set = SetParametersRequest { parameters: vec![Parameter { name: "adaptation".into(), value: probe }] };
    assert!(node.set_parameters(set).0.results[0].successful);
    assert!(node.adapt().success);
    let done = answered_until_its_end(&node, &lines);
    assert_eq!(
        (&done["event"], &done["version"], &done["active"]),
        (&"done".into(), &1.into(), &true.into()),
        "{done}"
    );
    assert_eq!(figure(&node, "version"), "1");
    assert_eq!(node.confirm().message, "version 1 is confirmed");
    node.end();
    drop(node);

    let (again, _lines) = active(parameters);
    assert_eq!(figure(&again, "version"), "1", "the store keeps it");
    assert_eq!(again.rollback().message, "the base runs now");
    assert_eq!(figure(&again, "version"), "base");
}

/// Answers images until an adaptation has ended, and returns its last event.
fn answered_until_its_end(node: &Node, lines: &Receiver<String>) -> Json {
    loop {
        node.image(CameraImage::Raw(image(1)));
        answered(node);
        let mut events = lines.try_iter().map(|line| serde_json::from_str::<Json>(&line).unwrap());
        let has_ended = |event: &Json| event["event"] == "done" || event["node"] == "adaptation_failed";
        if let Some(end) = events.find(has_ended) {
            return end;
        }
    }
}

/// Images of two classes that even one epoch tells apart.
fn collect(path: &Path) {
    let selection = Selection::default().with_hamming(None);
    let collector = Collector::open(path, CollectorOptions::default().with_selection(selection)).unwrap();
    for number in 0..60 {
        let data: Vec<u8> = noise(number, 48 * 48 * 3);
        let tinted = data.chunks(3).flat_map(|pixel| match number % 2 {
            0 => [pixel[0] / 2 + 128, pixel[1] / 4, pixel[2] / 4],
            _ => [pixel[0] / 4, pixel[1] / 4, pixel[2] / 2 + 128],
        });
        let data: Vec<u8> = tinted.collect();
        let frame = Frame::Pixels(Pixels::packed(&data, PixelFormat::Rgb8, 48, 48));
        // Each in a stretch of its own, so that every slice gets some.
        let at = Duration::from_secs(20 * u64::from(number) + 1);
        collector.observe(&frame, at, ModelOutput::default()).unwrap();
        let class = if number % 2 == 0 { "warm" } else { "cold" };
        collector.label(Span::Last(Duration::from_secs(1)), &Label::new(class, Origin::Operator)).unwrap();
    }
}
