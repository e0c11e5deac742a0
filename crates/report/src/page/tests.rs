//! Tests of whole pages.

use super::*;
use crate::fixture::run;
use crate::record::SegmentedFrame;

fn options() -> PageOptions {
    PageOptions { title: "Comparison".to_owned(), reference: None }
}

fn comparison() -> Vec<RunRecord> {
    let mut runs = Vec::new();
    for method in ["linear-probe", "lp-ft", "tpgm"] {
        runs.extend((0..3).map(|seed| run(method, seed, "photo")));
    }
    runs
}

const HEADINGS: [&str; 8] = [
    "Results",
    "Paired differences",
    "Accuracy, shifts and retention",
    "Radii",
    "Training",
    "Confusion",
    "Hardest images",
    "Settings",
];

fn headings(page: &str) -> Vec<&str> {
    page.split("<h2>").skip(1).filter_map(|rest| rest.split("</h2>").next()).collect()
}

/// Catches: a section that is missing, and one that is empty, with which the page of a single run looks broken.
#[test]
fn every_part_is_there_where_the_runs_have_something_for_it() {
    assert_eq!(headings(&render_page(&comparison(), &options())), HEADINGS);

    let mut lone = run("tpgm", 0, "photo");
    let kept = ["Results", "Radii", "Training", "Confusion", "Hardest images", "Settings"];
    assert_eq!(headings(&render_page(std::slice::from_ref(&lone), &options())), kept);

    lone.radii.clear();
    lone.losses.clear();
    lone.options.clear();
    lone.shifts.clear();
    lone.in_distribution.hardest.clear();
    assert_eq!(headings(&render_page(&[lone], &options())), ["Results", "Confusion"]);
    assert_eq!(headings(&render_page(&[], &options())), Vec::<&str>::new());
}

/// Catches: a mark that is lost, and a run that is drawn twice because two run logs contain it.
#[test]
fn a_scatter_has_a_point_for_each_run() {
    let mut runs = comparison();
    runs.push(runs[0].clone());
    let page = render_page(&runs, &options());
    for figure in page.split("<figure class=\"scatter\">").skip(1) {
        let figure = figure.split("</figure>").next().unwrap();
        assert_eq!(figure.matches("class=\"mark").count(), 9);
    }
    assert_eq!(page.matches("<figure class=\"scatter\">").count(), 2);
    assert!(page.contains("Gain on shifts over the linear probe"));
}

/// Catches: a name that reaches the page unescaped; a class named `<script>` would run.
#[test]
fn names_are_escaped_everywhere() {
    const NASTY: &str = "<script>alert(\"1\")</script>&'x\u{1b}[2J\u{202e}";
    let mut nasty = run(NASTY, 0, NASTY);
    nasty.options = NASTY.to_owned();
    nasty.classes = vec![NASTY.to_owned(), NASTY.to_owned()];
    nasty.radii.iter_mut().for_each(|radius| radius.tensor = NASTY.to_owned());
    for scores in nasty.shifts.iter_mut().chain([&mut nasty.in_distribution]) {
        scores.name = NASTY.to_owned();
        for image in &mut scores.hardest {
            image.file = NASTY.to_owned();
            image.truth = NASTY.to_owned();
            image.predicted = NASTY.to_owned();
        }
    }
    let other = run("linear-probe", 0, NASTY);
    let elsewhere = run(NASTY, 0, "elsewhere");
    let options = PageOptions { title: NASTY.to_owned(), reference: Some(NASTY.to_owned()) };
    for runs in [vec![nasty.clone()], vec![nasty, other, elsewhere]] {
        let page = render_page(&runs, &options);
        assert!(!page.contains("<script"), "an element from a name");
        assert!(!page.contains(r#""1""#), "a quote that ends an attribute");
        assert!(!page.contains("&'x"), "an ampersand or an apostrophe");
        assert!(page.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;x"));
        assert!(!page.contains(['\u{1b}', '\u{202e}']), "a terminal that shows the file, or a line in reverse");
    }
}

/// Catches: a thumbnail that causes a request, runs a script, or ends its attribute.
#[test]
fn only_images_in_the_page_itself_are_embedded() {
    let refused = [
        "https://example.org/a.png",
        "javascript:alert(1)",
        "data:text/html;base64,AAAA",
        "data:image/svg+xml;base64,AAAA",
        "data:image/png;base64,AA\" onerror=\"alert(1)",
        "data:image/png;base64,",
        "",
    ];
    for thumbnail in refused {
        let mut run = run("full", 0, "photo");
        for scores in run.shifts.iter_mut().chain([&mut run.in_distribution]) {
            scores.hardest[0].thumbnail = thumbnail.to_owned();
        }
        let page = render_page(&[run], &options());
        assert!(!page.contains("<img"), "{thumbnail:?} was embedded");
    }
    assert_eq!(render_page(&[run("full", 0, "photo")], &options()).matches("<img src=\"data:image/png").count(), 3);
}

fn segmented(method: &str) -> RunRecord {
    let mut run = run(method, 0, "day");
    run.colours = vec!["#800000".to_owned(), "#008000".to_owned()];
    for scores in run.shifts.iter_mut().chain([&mut run.in_distribution]) {
        let picture = "data:image/png;base64,AAAA".to_owned();
        let [frame, truth, answer] = std::array::from_fn(|_| picture.clone());
        let frame = SegmentedFrame { file: "dusk/1.png".to_owned(), accuracy: 0.25, frame, truth, answer };
        (scores.task, scores.hardest, scores.frames) = (Task::Segmentation, Vec::new(), vec![frame]);
    }
    run
}

/// Catches: a frame without its truth or its answer, colours without the names of their classes, pixels that are called images.
#[test]
fn segmented_frames_are_shown_with_truth_and_answer() {
    let page = render_page(&[segmented("full"), segmented("lp-ft")], &options());
    assert!(
        headings(&page).contains(&"Segmented frames") && headings(&page).contains(&"Mean IoU, shifts and retention")
    );
    assert_eq!(page.matches("<img").count(), 2 * 3 * 3);
    assert!(
        page.contains("dusk/1.png: 25.0&nbsp;% right")
            && page.contains("style=\"fill:#800000\"/></svg><span>dog</span>")
    );
    assert!(page.contains("of the row’s pixels") && !page.contains("fraction of images"));
}

/// Catches: a colour from a record that ends its attribute or loads a picture.
#[test]
fn only_colours_are_styles() {
    for colour in ["url(https://example.org)", "#80000\"", "red;background:url(x)", "#8000000", "800000"] {
        let mut run = segmented("full");
        run.colours = vec![colour.to_owned(), "#008000".to_owned()];
        let page = render_page(&[run], &options());
        assert!(!page.contains(&format!("fill:{colour}")) && page.contains("fill:#008000"), "{colour}");
    }
}

/// Catches: a URL in the page, an element that is left open, and a page that differs from call to call.
#[test]
fn a_page_is_whole_fetches_nothing_and_is_the_same_each_time() {
    let mut runs = comparison();
    runs.extend((0..3).map(|seed| run("tpgm", seed, "sketch")));
    let first = render_page(&runs, &options());
    assert_eq!(first, render_page(&runs, &options()));
    for forbidden in ["http://", "https://", "<script", "@import", "url(", "<link"] {
        assert!(!first.contains(forbidden), "{forbidden}");
    }
    for element in
        ["section", "figure", "svg", "table", "tr", "td", "div", "details", "ul", "li", "span", "title", "text"]
    {
        let opened = first.matches(&format!("<{element}>")).count() + first.matches(&format!("<{element} ")).count();
        assert_eq!(opened, first.matches(&format!("</{element}>")).count(), "{element}");
    }
}

/// Catches: a panic or a `NaN` in an attribute: records come from a file, and runs diverge.
#[test]
fn records_that_make_no_sense_still_make_a_page() {
    let mut odd = run("full", 0, "photo");
    odd.in_distribution.confusion = vec![vec![], vec![1, 2, 3], vec![4]];
    odd.shifts[0].confusion = vec![];
    odd.shifts[1].agreement = f64::NAN;
    odd.classes = vec!["only".to_owned()];
    odd.losses[1].loss = f64::NAN;
    odd.losses[2].loss = f64::INFINITY;
    odd.radii[0].share = f64::NAN;
    odd.seconds = f64::INFINITY;
    let runs = [odd.clone(), run("tpgm", 0, "photo"), RunRecord { identity: "another".to_owned(), seed: 1, ..odd }];
    let page = render_page(&runs, &options());
    for attribute in ["\"NaN", "\"inf", "\"-inf", ",NaN", "(NaN"] {
        assert!(!page.contains(attribute), "{attribute}");
    }
}

/// Catches: a page of unbounded size: a thousand classes would make a million cells, and thumbnails megabytes.
#[test]
fn large_records_stay_readable() {
    let mut large = run("full", 0, "photo");
    large.classes = (0..100).map(|class| format!("class {class}")).collect();
    large.in_distribution.confusion = vec![vec![1; 100]; 100];
    large.in_distribution.hardest = (0..500)
        .map(|index| crate::HardestImage { file: format!("{index}.jpg"), ..large.in_distribution.hardest[0].clone() })
        .collect();
    let page = render_page(&[large], &options());
    assert!(page.contains("Most frequent confusions of 100 classes"));
    assert!(!page.contains("class=\"cell\""));
    assert!(page.matches("<img").count() <= 3 * 8);
}

/// Catches: a plot that is scaled, with text of another size than in its neighbours, or that is wider than a phone.
#[test]
fn plots_are_shown_at_their_own_size_and_fit_a_phone() {
    let mut runs = comparison();
    runs.iter_mut().for_each(|run| run.classes = vec!["a class with a long name".to_owned(), "another".to_owned()]);
    let page = render_page(&runs, &options());
    let drawings: Vec<&str> = page.split("<svg ").skip(1).filter_map(|rest| rest.split('>').next()).collect();
    assert!(drawings.len() > 20);
    for drawing in drawings {
        let attribute = |name: &str| drawing.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap();
        let (width, height) = (attribute(" width"), attribute(" height"));
        assert_eq!(attribute("viewBox"), format!("0 0 {width} {height}"), "{drawing}");
        assert!(width.parse::<f64>().unwrap() <= svg::PLOT_WIDTH, "{drawing}");
    }
    let sizes = include_str!("style.css").lines().filter(|line| line.starts_with("svg") && line.contains("font-size"));
    assert_eq!(sizes.count(), 1, "one size of text in all plots");
}
