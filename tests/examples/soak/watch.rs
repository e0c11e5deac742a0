//! Watchdog process of the soak test: starts, disturbs, kills and measures the others.

use crate::Error;
use crate::camera::Report;
use crate::field::Field;
use fieldfit::store::{Store, StoreError, Transition, VersionState};
use fieldfit_tests::deltas;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often everything is measured.
const SAMPLE: Duration = Duration::from_secs(15);

/// One measurement.
#[derive(Debug, Clone, Copy, Serialize)]
struct Sample {
    seconds: f64,
    resident_kib: u64,
    open_files: u64,
    store_bytes: u64,
    versions: u64,
    frames: u64,
    swaps: u64,
    late: u64,
    longest_ms: f64,
    longest_after_swap_ms: f64,
}

/// What was done to the robot.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Done {
    adaptations: u32,
    killed_adaptations: u32,
    resumed_adaptations: u32,
    visits: u32,
    killed_visits: u32,
    rollbacks: u32,
    poisoned: u32,
    confirmed: u32,
    quarantined: u32,
}

/// What the soak came to.
#[derive(Debug, Serialize)]
pub struct Verdict {
    minutes: f64,
    #[serde(flatten)]
    done: Done,
    first: Sample,
    last: Sample,
    longest_ms: f64,
    longest_after_swap_ms: f64,
    faults: Vec<String>,
}

impl Verdict {
    /// Whether nothing was lost and nothing grew.
    pub fn is_good(&self) -> bool {
        self.faults.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string_pretty(self).map_err(|_| fmt::Error)?)
    }
}

/// The soak while it goes on.
pub struct Watch<'a> {
    field: &'a Field,
    store: Store,
    poison: Vec<u8>,
    camera: Child,
    report: Arc<Mutex<Report>>,
    log: File,
    random: ChaCha8Rng,
    done: Done,
    samples: Vec<Sample>,
    faults: Vec<String>,
    /// Whether the last adaptation was killed.
    was_killed: bool,
    /// How much of the history was looked at: the clock and the change of its last event.
    seen: Option<(u64, Transition)>,
}

impl<'a> Watch<'a> {
    /// Starts the camera.
    pub fn new(field: &'a Field) -> Result<Self, Error> {
        let mut camera = process(&["camera", &field.folder.to_string_lossy()])?.stdout(Stdio::piped()).spawn()?;
        let report = Arc::new(Mutex::new(Report::default()));
        let out = camera.stdout.take().ok_or("the camera has no output")?;
        let heard = report.clone();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Ok(said) = serde_json::from_str::<Report>(&line) {
                    let mut report = heard.lock().unwrap_or_else(PoisonError::into_inner);
                    let longest = [report.longest_ms, report.longest_after_swap_ms];
                    *report = said;
                    report.longest_ms = report.longest_ms.max(longest[0]);
                    report.longest_after_swap_ms = report.longest_after_swap_ms.max(longest[1]);
                }
            }
        });
        Ok(Self {
            field,
            store: Store::open(field.store())?,
            poison: deltas::poisoned(field.open()?.base().id().0),
            camera,
            report,
            log: File::create(field.folder.join("log.jsonl"))?,
            random: ChaCha8Rng::seed_from_u64(6),
            done: Done::default(),
            samples: Vec::new(),
            faults: Vec::new(),
            was_killed: false,
            seen: None,
        })
    }

    /// Disturbs and measures for that long.
    pub fn run(mut self, minutes: f64) -> Result<Verdict, Error> {
        let began = Instant::now();
        let mut next = began + SAMPLE;
        while began.elapsed().as_secs_f64() < 60.0 * minutes {
            self.disturb()?;
            self.look()?;
            if let Some(status) = self.camera.try_wait()? {
                self.faults.push(format!("the camera ended: {status}"));
                break;
            }
            if Instant::now() >= next {
                next += SAMPLE;
                self.sample(began.elapsed())?;
            }
            thread::sleep(Duration::from_millis(self.random.random_range(200..3000)));
        }
        self.camera.kill()?;
        self.camera.wait()?;
        self.judge(began.elapsed())
    }

    /// One thing that happens to a robot.
    fn disturb(&mut self) -> Result<(), Error> {
        match self.random.random_range(0..10) {
            0..4 => self.adapt(),
            4..7 => self.visit(),
            7 => {
                if self.store.rollback().is_ok() {
                    self.done.rollbacks += 1;
                }
                Ok(())
            }
            8 => {
                let version = self.store.add(&self.poison)?;
                self.store.activate(version)?;
                self.done.poisoned += 1;
                Ok(())
            }
            _ => {
                let versions = self.store.versions()?;
                let may = |state: &VersionState| {
                    matches!(state, VersionState::Candidate | VersionState::Confirmed | VersionState::Retired)
                };
                let candidates: Vec<u32> =
                    versions.iter().filter(|entry| may(&entry.state)).map(|entry| entry.version).collect();
                if candidates.is_empty() {
                    return Ok(());
                }
                match self.store.activate(candidates[self.random.random_range(0..candidates.len())]) {
                    // The camera has found out meanwhile that it can't run.
                    Err(StoreError::Refused { .. }) => Ok(()),
                    done => Ok(done?),
                }
            }
        }
    }

    fn adapt(&mut self) -> Result<(), Error> {
        let checkpoint = self.field.store().join("work/adapt.checkpoint");
        let resume = self.was_killed && checkpoint.exists();
        let folder = self.field.folder.to_string_lossy().into_owned();
        let child = process(&["adapt", &folder, &resume.to_string()])?.spawn()?;
        self.done.adaptations += 1;
        self.done.resumed_adaptations += u32::from(resume);
        self.was_killed = self.random.random_bool(0.3);
        match self.await_or_kill(child, self.was_killed)? {
            Some(false) => self.faults.push("an adaptation failed".into()),
            Some(true) => self.was_killed = false,
            None => self.done.killed_adaptations += 1,
        }
        Ok(())
    }

    fn visit(&mut self) -> Result<(), Error> {
        let child = process(&["visit", &self.field.folder.to_string_lossy()])?.spawn()?;
        self.done.visits += 1;
        let kill = self.random.random_bool(0.6);
        match self.await_or_kill(child, kill)? {
            Some(false) => self.faults.push("a visit failed".into()),
            Some(true) => {}
            None => self.done.killed_visits += 1,
        }
        Ok(())
    }

    /// Whether the process succeeded; `None` if it was killed, at some moment, before it ended.
    fn await_or_kill(&mut self, mut child: Child, kill: bool) -> Result<Option<bool>, Error> {
        if kill {
            // Most of these moments lie in the first tenths of a second, where a start is recorded.
            let moment = self.random.random_range(0.0_f64..0.9).powi(3);
            thread::sleep(Duration::from_secs_f64(moment));
            if child.try_wait()?.is_none() {
                child.kill()?;
                let status = child.wait()?;
                return Ok((!status.success() && status.code().is_none()).then_some(()).map_or(Some(true), |()| None));
            }
        }
        Ok(Some(child.wait()?.success()))
    }

    /// Everything is to be whole at any time; counts what the history says.
    fn look(&mut self) -> Result<(), Error> {
        for finding in self.store.verify()? {
            self.faults.push(format!("version {}: {}", finding.version, finding.problem));
        }
        let history = self.store.history()?;
        let last = |event: &fieldfit::store::HistoryEntry| (event.time, event.change.clone());
        let from = self.seen.as_ref().and_then(|seen| history.iter().rposition(|event| last(event) == *seen));
        for event in &history[from.map_or(0, |from| from + 1)..] {
            match event.change {
                Transition::Confirmed { .. } => self.done.confirmed += 1,
                Transition::Quarantined { .. } => self.done.quarantined += 1,
                _ => {}
            }
        }
        self.seen = history.last().map(last);
        Ok(())
    }

    fn sample(&mut self, elapsed: Duration) -> Result<(), Error> {
        let camera = Path::new("/proc").join(self.camera.id().to_string());
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let sample = Sample {
            seconds: elapsed.as_secs_f64(),
            resident_kib: resident(&camera)?,
            open_files: fs::read_dir(camera.join("fd"))?.count() as u64,
            store_bytes: size(&self.field.store())?,
            versions: self.store.versions()?.len() as u64,
            frames: report.frames,
            swaps: report.swaps,
            late: report.late,
            longest_ms: report.longest_ms,
            longest_after_swap_ms: report.longest_after_swap_ms,
        };
        (report.longest_ms, report.longest_after_swap_ms) = (0.0, 0.0);
        drop(report);
        writeln!(self.log, "{}", serde_json::to_string(&sample)?)?;
        self.samples.push(sample);
        Ok(())
    }

    /// Compares the most of everything in the second tenth of the time with the most in the last.
    fn judge(mut self, elapsed: Duration) -> Result<Verdict, Error> {
        let tenth = self.samples.len() / 10;
        let parts = [&self.samples[tenth..], &self.samples[self.samples.len() - tenth..]];
        let [early, late] = [&parts[0][..tenth.max(1).min(parts[0].len())], parts[1]];
        for (what, measure, slack) in MEASURES {
            let most = |part: &[Sample]| part.iter().map(measure).max().unwrap_or(0);
            let (before, after) = (most(early), most(late));
            if after > before + before / 10 + slack {
                self.faults.push(format!("{what} grew from {before} to {after}"));
            }
        }
        let longest = |measure: fn(&Sample) -> f64| self.samples.iter().map(measure).fold(0.0, f64::max);
        let verdict = Verdict {
            minutes: elapsed.as_secs_f64() / 60.0,
            done: self.done,
            first: *self.samples.first().ok_or("too short to measure anything")?,
            last: *self.samples.last().ok_or("too short to measure anything")?,
            longest_ms: longest(|sample| sample.longest_ms),
            longest_after_swap_ms: longest(|sample| sample.longest_after_swap_ms),
            faults: self.faults,
        };
        writeln!(self.log, "{}", serde_json::to_string(&verdict)?)?;
        Ok(verdict)
    }
}

/// What must not grow: its name, how it is read, and by how much it may differ beside a tenth.
type Measure = (&'static str, fn(&Sample) -> u64, u64);
const MEASURES: [Measure; 3] = [
    ("resident memory (KiB)", |sample| sample.resident_kib, 2048),
    ("open files", |sample| sample.open_files, 4),
    ("the store (bytes)", |sample| sample.store_bytes, 64 << 10),
];

/// This program in another role.
fn process(arguments: &[&str]) -> Result<Command, Error> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments).stdin(Stdio::null());
    Ok(command)
}

fn resident(process: &Path) -> Result<u64, Error> {
    let status = fs::read_to_string(process.join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Bytes of all files under a folder; those that vanish meanwhile count nothing.
fn size(folder: &Path) -> Result<u64, Error> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes += size(&entry.path())?,
            Ok(metadata) => bytes += metadata.len(),
            Err(_) => {}
        }
    }
    Ok(bytes)
}
