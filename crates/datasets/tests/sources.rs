//! Every format: its records as they are, and its defects with file and record.
#![allow(clippy::unwrap_used, reason = "tests")]

use fieldfit_data::{Frame, RgbImage, encode_jpeg};
use fieldfit_datasets::{Boxes, DatasetError, LabelledImage, SourceOptions, each_record};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder with three images, `a.jpg`, `b.jpg` and `c d.jpg`, in `images`.
struct Field(tempfile::TempDir);

impl Field {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("images")).unwrap();
        for (name, seed) in [("a", 1), ("b", 2), ("c d", 3)] {
            fs::write(folder.path().join(format!("images/{name}.jpg")), jpeg(seed)).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

fn jpeg(seed: u8) -> Vec<u8> {
    encode_jpeg(&RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8 * seed, y as u8, seed])), 90).unwrap()
}

fn read(path: &Path, options: &SourceOptions) -> Result<Vec<LabelledImage>, DatasetError> {
    let mut records = Vec::new();
    each_record(path, options, |record| {
        records.push(record);
        Ok::<(), DatasetError>(())
    })?;
    Ok(records)
}

fn whole(path: &Path) -> Vec<(Vec<u8>, String)> {
    let records = read(path, &SourceOptions::default()).unwrap();
    records.into_iter().map(|LabelledImage { bytes, class, .. }| (bytes, class)).collect()
}

/// Checks that a file is refused with these words, after its path.
fn refused(path: &Path, words: &str) {
    refused_with(path, &SourceOptions::default(), words);
}

fn refused_with(path: &Path, options: &SourceOptions, words: &str) {
    let error = read(path, options).unwrap_err();
    assert!(error.to_string().contains(words), "{error}");
    assert!(!error.path().as_os_str().is_empty());
}

fn labels(names: [&str; 3]) -> Vec<(Vec<u8>, String)> {
    (1..).zip(names).map(|(seed, class)| (jpeg(seed), class.to_owned())).collect()
}

/// Catches: columns taken for each other, quoted fields that are torn, images that are encoded anew.
#[test]
fn tables_name_files_and_classes() {
    let field = Field::new();
    let expected = labels(["mud", "grass, wet", "mud"]);
    let csv = "\u{feff}label,note,file_name\r\nmud,x,images/a.jpg\n\"grass, wet\",,images/b.jpg\nmud,\"a\nb\",images/c d.jpg\n";
    assert_eq!(whole(&field.write("t.csv", csv)), expected);
    let lines = "{\"image\":\"images/a.jpg\",\"class\":\"mud\",\"run\":7}\n\n{\"image\":\"images/b.jpg\",\"class\":\"grass, wet\",\"run\":8}\n{\"image\":\"images/c d.jpg\",\"class\":\"mud\",\"run\":7}";
    let jsonl = field.write("t.jsonl", lines);
    assert_eq!(whole(&jsonl), expected);
    let options = SourceOptions::default().with_columns(None, None, Some("run".into()));
    let groups: Vec<_> = read(&jsonl, &options).unwrap().into_iter().map(|record| record.group).collect();
    assert_eq!(groups, ["7", "8", "7"].map(|group| Some(group.to_owned())));
    field.write("hf/images/a.jpg", jpeg(1));
    field.write("hf/metadata.csv", "file_name,label\nimages/a.jpg,mud\n");
    assert_eq!(whole(&field.path("hf")), labels(["mud"; 3])[..1]);
}

/// Catches: a defect of a table without its line.
#[test]
fn tables_are_refused_by_line() {
    let field = Field::new();
    refused(
        &field.write("a.csv", "file,x\n"),
        "no column of the class: expected label, class, category, labels, found file, x",
    );
    refused(
        &field.write("b.csv", "file,label\nimages/a.jpg,mud\nimages/none.jpg,mud\n"),
        "line 3 (images/none.jpg): cannot read",
    );
    refused(&field.write("c.csv", "file,label\nimages/a.jpg\n"), "line 2");
    refused(&field.write("d.csv", "file,label\nimages/a.jpg,\n"), "line 2: `label` is empty");
    refused(&field.write("e.csv", "file,label\na.csv,mud\n"), "line 2 (a.csv): it is no JPEG");
    refused(
        &field.write("f.jsonl", "{\"file\":\"images/a.jpg\",\"label\":\"x\"}\n[1]\n"),
        "line 2: it is no JSON object",
    );
    refused(
        &field.write("g.jsonl", "{\"file\":\"images/a.jpg\",\"label\":[1]}\n"),
        "line 1: `label` is empty or no text",
    );
    let options = SourceOptions::default().with_columns(Some("kind".into()), None, None);
    refused_with(
        &field.write("h.csv", "file,label\n"),
        &options,
        "expected kind, found file, label; name it with --label-column",
    );
}

/// Catches: folders of subsets that become classes, Roboflow's augmented copies that come apart.
#[test]
fn folders_have_classes() {
    let field = Field::new();
    for (name, seed) in [("set/train/mud/a.jpg", 1), ("set/train/grass/b.jpg", 2), ("set/valid/mud/c.jpg", 3)] {
        field.write(name, jpeg(seed));
    }
    let mut found = whole(&field.path("set"));
    found.sort_by_key(|(bytes, _)| bytes.clone());
    let mut expected = labels(["mud", "grass", "mud"]);
    expected.sort();
    assert_eq!(found, expected);
    refused(field.write("set/lost.jpg", jpeg(4)).parent().unwrap(), "lost.jpg: it lies in no folder of a class");

    field.write("robo/train/a_jpg.rf.1f.jpg", jpeg(1));
    field.write("robo/train/_classes.csv", "filename, mud, grass\na_jpg.rf.1f.jpg, 1, 0\n");
    field.write("robo/valid/b.jpg", jpeg(2));
    let table = field.write("robo/valid/_classes.csv", "filename, mud, grass\nb.jpg, 0, 1\n");
    assert_eq!(whole(&field.path("robo")), labels(["mud", "grass", ""])[..2]);
    let records = read(&field.path("robo"), &SourceOptions::default()).unwrap();
    assert_eq!(records[0].group.as_deref(), Some("a_jpg"));
    fs::write(table, "filename, mud, grass\nb.jpg, 1, 1\n").unwrap();
    refused(&field.path("robo"), "line 2 (b.jpg): expected one class, found 2");
}

fn coco(annotations: &str) -> String {
    format!(
        "{{\"images\":[{{\"id\":1,\"file_name\":\"images/a.jpg\"}},{{\"id\":2,\"file_name\":\"images/b.jpg\"}}],
        \"categories\":[{{\"id\":5,\"name\":\"mud\"}},{{\"id\":6,\"name\":\"grass\"}}],\"annotations\":[{annotations}]}}"
    )
}

/// Catches: categories by position instead of identity, boxes that are misread, crops of one image that come apart.
#[test]
fn coco_gives_images_or_boxes() {
    let field = Field::new();
    let one = "{\"image_id\":1,\"category_id\":6,\"bbox\":[0,0,10,10]},{\"image_id\":1,\"category_id\":6}";
    assert_eq!(
        whole(&field.write("one.json", coco(one))),
        labels(["grass"; 3])[..1],
        "the image without a label is left out"
    );
    let two = "{\"image_id\":1,\"category_id\":6,\"bbox\":[20,10,10,8]},{\"image_id\":1,\"category_id\":5,\"bbox\":[0,0,4,30]}";
    let path = field.write("two.json", coco(two));
    refused(&path, "images/a.jpg: it has boxes of 2 categories: cut each out with --boxes crop");
    let options = SourceOptions::default().with_boxes(Boxes::Crop { pad: 0.5 });
    let records = read(&path, &options).unwrap();
    let sizes = records.iter().map(|record| Frame::Encoded(&record.bytes).to_rgb().unwrap().dimensions());
    assert_eq!(sizes.collect::<Vec<_>>(), [(20, 16), (6, 30)]);
    assert_eq!(records.iter().map(|record| record.class.as_str()).collect::<Vec<_>>(), ["grass", "mud"]);
    assert!(records.iter().all(|record| record.group.as_deref() == Some("images/a.jpg")));

    let crop =
        |name: &str, annotation: &str, words: &str| refused_with(&field.write(name, coco(annotation)), &options, words);
    crop("a.json", "{\"image_id\":9,\"category_id\":6}", "annotation 0: there is no image 9");
    crop("b.json", "{\"image_id\":1,\"category_id\":9,\"bbox\":[0,0,1,1]}", "annotation 0: there is no category 9");
    crop(
        "c.json",
        "{\"image_id\":1,\"category_id\":6,\"bbox\":[0,0,1]}",
        "annotation 0 (images/a.jpg): expected a box of 4",
    );
    crop("d.json", "{\"image_id\":1,\"category_id\":6,\"bbox\":[90,0,5,5]}", "has no pixel of the image of 40 × 30");
    refused(&field.write("e.json", "{\"images\":[]}"), "it is not what this format holds (missing field");
    refused(&field.write("f.json", "{"), "it is no JSON");
}

fn cvat(images: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotations>\n<version>1.1</version>\n<meta><task><name>drive</name><size>2</size>\
        <labels><label><name>mud</name><color>#fa3253</color></label></labels></task></meta>\n{images}\n</annotations>\n"
    )
}

/// Catches: boxes between other shapes that are lost, corners that are read as sides, a tag that does not count, tracks that are left
/// out without a word.
#[test]
fn cvat_gives_images_or_boxes() {
    let field = Field::new();
    let image = |name: &str, shapes: &str| {
        format!("<image id=\"0\" name=\"images/{name}.jpg\" width=\"40\" height=\"30\">{shapes}</image>")
    };
    let marked = |label: &str, corners: [u32; 4]| {
        let [left, top, right, bottom] = corners;
        format!(
            "<box label=\"{label}\" source=\"manual\" occluded=\"0\" xtl=\"{left}.00\" ytl=\"{top}.00\" xbr=\"{right}.0\" \
             ybr=\"{bottom}.0\" z_order=\"0\"><attribute name=\"wet\">yes</attribute></box>"
        )
    };
    let polygon = "<polygon label=\"mud\" points=\"1.0,1.0;2.0,2.0;1.0,3.0\"></polygon>";
    let (grass, mud) = (marked("grass", [20, 10, 30, 18]), marked("mud", [0, 0, 4, 30]));
    let tag = "<tag label=\"grass\" source=\"manual\"></tag>";
    let tagged = field.write("tag.xml", cvat(&(image("a", &format!("{tag}{mud}")) + &image("b", polygon))));
    assert_eq!(whole(&tagged), labels(["grass"; 3])[..1], "the image without a label is left out");

    let path = field.write("two.xml", cvat(&image("a", &format!("{grass}{polygon}{mud}"))));
    refused(&path, "images/a.jpg: it has boxes of 2 labels: cut each out with --boxes crop");
    let options = SourceOptions::default().with_boxes(Boxes::Crop { pad: 0.5 });
    let records = read(&path, &options).unwrap();
    let sizes = records.iter().map(|record| Frame::Encoded(&record.bytes).to_rgb().unwrap().dimensions());
    assert_eq!(sizes.collect::<Vec<_>>(), [(20, 16), (6, 30)]);
    assert_eq!(records.iter().map(|record| record.class.as_str()).collect::<Vec<_>>(), ["grass", "mud"]);
    assert!(records.iter().all(|record| record.group.as_deref() == Some("images/a.jpg")));

    let refusals = [
        ("a.xml", "<svg></svg>".to_owned(), "it has no <annotations>"),
        ("b.xml", cvat("<track id=\"0\" label=\"mud\"><box frame=\"0\" xtl=\"1\"/></track>"), "tracks of a video"),
        (
            "c.xml",
            cvat(&image("a", "<box label=\"mud\" xtl=\"wide\" ytl=\"0\" xbr=\"1\" ybr=\"1\"/>")),
            "not what this format holds",
        ),
        ("d.xml", cvat("<image name=\"images/a.jpg\">"), "not what this format holds"),
        ("e.xml", cvat(&image("a", &format!("{tag}<tag label=\"mud\"></tag>"))), "it has tags of 2 labels: leave one"),
        ("f.xml", cvat(&image("z", tag)), "images/z.jpg"),
    ];
    for (name, text, words) in refusals {
        refused(&field.write(name, text), words);
    }
}

/// Catches: annotators who disagree and one of whom wins by chance, cancelled annotations that count, rectangles in percent that are
/// read as pixels.
#[test]
fn label_studio_gives_choices_or_rectangles() {
    let field = Field::new();
    let choice = |name: &str, cancelled: bool| {
        format!(
            "{{\"was_cancelled\":{cancelled},\"result\":[{{\"type\":\"choices\",\"value\":{{\"choices\":[\"{name}\"]}}}}]}}"
        )
    };
    let task = |annotations: &str| {
        format!(
            "{{\"id\":7,\"data\":{{\"image\":\"/data/local-files/?d=images/a.jpg\"}},\"annotations\":[{annotations}]}}"
        )
    };
    let write = |name: &str, task: &str| field.write(name, format!("[{task},{{\"data\":{{\"image\":\"x\"}}}}]"));
    let agreed = [choice("mud", false), choice("grass", true), choice("mud", false)].join(",");
    assert_eq!(whole(&write("a.json", &task(&agreed))), labels(["mud"; 3])[..1]);
    let split = [choice("mud", false), choice("grass", false)].join(",");
    refused(&write("b.json", &task(&split)), "task 7: expected one choice, of all annotators, found 2");
    let rectangle =
        "{\"result\":[{\"value\":{\"rectanglelabels\":[\"grass\"],\"x\":50,\"y\":0,\"width\":50,\"height\":20}}]}";
    let options = SourceOptions::default().with_boxes(Boxes::Crop { pad: 0.0 });
    let records = read(&write("c.json", &task(rectangle)), &options).unwrap();
    assert_eq!(Frame::Encoded(&records[0].bytes).to_rgb().unwrap().dimensions(), (20, 6));
    refused(
        &write("d.json", &task(&choice("mud", false)).replace("/data/local-files/?d=", "https://h/")),
        "task 7: its image is at https://h/",
    );
}

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

/// Catches: members of two samples that are mixed, a number that is taken for the class where there is a name, an archive that is
/// cut and passes for whole.
#[test]
fn web_dataset_samples_are_read_one_at_a_time() {
    let field = Field::new();
    let images = [jpeg(1), jpeg(2), jpeg(3)];
    let members: [(&str, &[u8]); 9] = [
        ("x/1.jpg", &images[0]),
        ("x/1.cls", b"0\n"),
        ("x/1.json", b"{\"label\":\"mud\",\"group\":\"g\"}"),
        ("x/2.cls", b"grass"),
        ("x/2.jpg", &images[1]),
        ("x/2.depth.bin", b"ignored"),
        ("x/3.jpg", &images[2]),
        ("x/3.txt", b"mud"),
        ("x/4.cls", b"without an image"),
    ];
    let bytes = archive(&members);
    let path = field.write("a.tar", &bytes);
    assert_eq!(whole(&path), labels(["mud", "grass", "mud"]));
    assert_eq!(read(&path, &SourceOptions::default()).unwrap()[0].group.as_deref(), Some("g"));
    refused(&field.write("b.tar", archive(&members[..1])), "x/1: it has no class");
    refused(
        &field.write("c.tar", archive(&[("1.jpg", &images[0]), ("1.png", &images[1])])),
        "1.png: its sample has two images",
    );
    refused(&field.write("d.tar", archive(&[("1.jpg", b"text"), ("1.cls", b"mud")])), "1: it is no JPEG");
    refused(&field.write("e.tar", &bytes[..700]), "it is no whole tar archive");
    refused(&field.write("f.tar", vec![7; 2000]), "it is no whole tar archive");
}

/// Returns how many images were left out for want of a label.
fn unlabelled(path: &Path) -> usize {
    each_record(path, &SourceOptions::default(), |_| Ok::<(), DatasetError>(())).unwrap().unlabelled
}

/// Catches: images without a label that are left out and not counted.
#[test]
fn images_without_a_label_are_counted() {
    let field = Field::new();
    let one = "{\"image_id\":1,\"category_id\":6}";
    assert_eq!(unlabelled(&field.write("coco.json", coco(one))), 1);
    let images =
        "<image id=\"0\" name=\"images/a.jpg\"><tag label=\"mud\"/></image><image id=\"1\" name=\"images/b.jpg\"/>";
    assert_eq!(unlabelled(&field.write("cvat.xml", cvat(images))), 1);
    let cancelled = "[{\"data\":{\"image\":\"images/a.jpg\"},\"annotations\":[{\"was_cancelled\":true,\"result\":\
                     [{\"value\":{\"choices\":[\"mud\"]}}]}]},{\"data\":{\"image\":\"images/b.jpg\"}}]";
    assert_eq!(unlabelled(&field.write("tasks.json", cancelled)), 2);
}

/// Catches: a rotated box that is cut out as if it were upright, so that the crop shows something else.
#[test]
fn rotated_boxes_are_refused() {
    let field = Field::new();
    let options = SourceOptions::default().with_boxes(Boxes::Crop { pad: 0.0 });
    let rotated = |angle: &str| {
        let coco_box = format!(
            "{{\"image_id\":1,\"category_id\":6,\"bbox\":[0,0,9,9],\"attributes\":{{\"rotation\":{angle},\"occluded\":false}}}}"
        );
        let cvat_box = format!(
            "<image name=\"images/a.jpg\"><box label=\"mud\" xtl=\"0\" ytl=\"0\" xbr=\"9\" ybr=\"9\" rotation=\"{angle}\"/></image>"
        );
        let task = format!(
            "[{{\"data\":{{\"image\":\"images/a.jpg\"}},\"annotations\":[{{\"result\":[{{\"value\":{{\"rectanglelabels\":\
             [\"mud\"],\"x\":0,\"y\":0,\"width\":9,\"height\":9,\"rotation\":{angle}}}}}]}}]}}]"
        );
        [("a.json", coco(&coco_box)), ("a.xml", cvat(&cvat_box)), ("b.json", task)]
    };
    for (name, text) in rotated("30") {
        refused_with(&field.write(name, text), &options, "its box is rotated by 30°");
    }
    for (name, text) in rotated("0.0") {
        assert_eq!(read(&field.write(name, text), &options).unwrap().len(), 1, "{name}");
    }
}

/// Catches: a sound file that is refused for the byte order mark of an editor, and UTF-16 without what to do about it.
#[test]
fn byte_order_marks_are_read_over() {
    let field = Field::new();
    let line = "{\"file_name\":\"images/a.jpg\",\"label\":\"mud\"}";
    let texts = [
        ("a.jsonl", line.to_owned()),
        ("a.csv", "file_name,label\nimages/a.jpg,mud\n".to_owned()),
        ("a.json", coco("{\"image_id\":1,\"category_id\":5}")),
        ("a.xml", cvat("<image name=\"images/a.jpg\"><tag label=\"mud\"/></image>")),
        ("r/_classes.csv", "filename,mud\n../images/a.jpg,1\n".to_owned()),
    ];
    for (name, text) in texts {
        let path = field.write(name, format!("\u{feff}{text}"));
        let path = if name.starts_with('r') { field.path("r") } else { path };
        assert_eq!(whole(&path), labels(["mud"; 3])[..1], "{name}");
    }
    let wide: Vec<u8> = line.encode_utf16().flat_map(u16::to_le_bytes).collect();
    refused(&field.write("b.jsonl", [&b"\xff\xfe"[..], &wide].concat()), "it is UTF-16; save it as UTF-8");
    let image = jpeg(1);
    let marked: [(&str, &[u8]); 2] = [("1.jpg", &image), ("1.cls", b"\xef\xbb\xbfmud")];
    assert_eq!(whole(&field.write("a.tar", archive(&marked))), labels(["mud"; 3])[..1]);
}

/// Catches: one of two columns, images or categories of a name that is taken by chance.
#[test]
fn what_is_there_twice_is_refused() {
    let field = Field::new();
    refused(&field.write("a.csv", "file_name,label,label\nimages/a.jpg,mud,grass\n"), "two columns are called `label`");
    let line = "{\"file_name\":\"images/a.jpg\",\"label\":\"mud\",\"label\":\"grass\"}";
    refused(&field.write("a.jsonl", line), "line 1: it is no JSON object (the field `label` is there twice");
    let twice = coco("").replace("\"id\":6", "\"id\":5");
    refused(&field.write("a.json", twice), "two categories have the id 5");
    let twice = coco("").replace("\"id\":2", "\"id\":1");
    refused(&field.write("b.json", twice), "two images have the id 1");
}

/// Catches: members that are links, or whose suffix has large letters, and labels without an image, which are left out without a word; an
/// archive that is cut off between two members.
#[test]
fn samples_of_archives_are_read_or_named() {
    let field = Field::new();
    let image = jpeg(1);
    let members: [(&str, &[u8]); 5] =
        [("1.JPG", &image), ("1.CLS", b"mud"), ("2.cls", b"mud"), ("3.seg.png", &image), ("3.cls", b"mud")];
    let whole_archive = archive(&members);
    let path = field.write("a.tar", &whole_archive);
    assert_eq!(whole(&path), labels(["mud"; 3])[..1]);
    let summary = each_record(&path, &SourceOptions::default(), |_| Ok::<(), DatasetError>(())).unwrap();
    assert_eq!(summary.without_image, 2);

    let end = whole_archive.iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(512);
    refused(&field.write("b.tar", &whole_archive[..end]), "the zeros at its end are missing");
    refused(&field.write("c.tar", ""), "the zeros at its end are missing");
    for kind in [tar::EntryType::Link, tar::EntryType::Symlink] {
        let mut linked = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        linked.append_link(&mut header, "1.jpg", "2.jpg").unwrap();
        refused(&field.write("d.tar", linked.into_inner().unwrap()), "1.jpg: it is a link");
    }
}

/// Catches: images of other formats, and classes that are links, which an import of a folder leaves out without a word.
#[test]
fn what_a_folder_holds_besides_is_named() {
    let field = Field::new();
    field.write("classes/mud/a.jpg", jpeg(1));
    field.write("classes/mud/b.heic", "an image of a telephone");
    std::os::unix::fs::symlink("../images", field.path("classes/grass")).unwrap();
    let summary =
        each_record(&field.path("classes"), &SourceOptions::default(), |_| Ok::<(), DatasetError>(())).unwrap();
    let mut skipped: Vec<_> =
        summary.skipped.iter().map(|skipped| skipped.path.file_name().unwrap().to_owned()).collect();
    skipped.sort();
    assert_eq!(skipped, ["b.heic", "grass"]);
}

/// Catches: formats that need another tool and are refused without naming it.
#[test]
fn other_formats_come_with_their_converter() {
    let field = Field::new();
    refused(&field.write("a.db3", ""), "convert it with `ros2 bag convert");
    refused(&field.write("a.bag", ""), "rosbags-convert");
    refused(&field.write("a.xyz", ""), "is of no known format");
    refused(&field.path("none"), "cannot read");
}
