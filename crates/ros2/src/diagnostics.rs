//! Report of the node's state for `/diagnostics`.

use crate::counters::{Counters, Recent};
use crate::lifecycle::State;
use crate::msg::builtin_interfaces::Time;
use crate::msg::diagnostic_msgs::{DiagnosticArray, DiagnosticStatus, KeyValue};
use crate::msg::std_msgs::Header;
use fieldfit::{Drift, Version, escape};
use std::time::Duration;

/// What a report is made of.
#[derive(Debug)]
pub struct Report<'a> {
    /// Name of the node with its namespace.
    pub node: &'a str,
    /// Model folder.
    pub model: &'a str,
    /// State of the node.
    pub state: State,
    /// Counts since the start.
    pub counters: &'a Counters,
    /// What happened since the last report.
    pub recent: Recent,
    /// Time since the last report.
    pub elapsed: Duration,
    /// The engine, if the node is configured.
    pub engine: Option<EngineReport>,
    /// Why the node could not be configured or the store not be read, if so.
    pub failure: Option<String>,
}

/// What a report says of the engine.
#[derive(Debug, Clone, Copy)]
pub struct EngineReport {
    /// Drift figures.
    pub drift: Drift,
    /// Whether the base runs because the store is unavailable.
    pub is_degraded: bool,
    /// Whether an adaptation is running.
    pub is_adapting: bool,
}

impl Report<'_> {
    /// Returns the report as a message.
    pub fn message(&self, stamp: Time) -> DiagnosticArray {
        let (level, message) = self.verdict();
        let status = DiagnosticStatus {
            level,
            name: format!("{}: classification", self.node.trim_start_matches('/')),
            message,
            hardware_id: escape(self.model).to_string(),
            values: self.values(),
        };
        DiagnosticArray { header: Header { stamp, frame_id: String::new() }, status: vec![status] }
    }

    /// The level, and the state in a sentence: the worst first.
    fn verdict(&self) -> (u8, String) {
        if let Some(failure) = &self.failure {
            return (DiagnosticStatus::ERROR, failure.clone());
        }
        if self.engine.is_some_and(|engine| engine.is_degraded) {
            return (DiagnosticStatus::ERROR, "the base runs, because the store is unavailable".into());
        }
        if let Some(problem) = &self.recent.problem {
            let level = if self.recent.answers == 0 { DiagnosticStatus::ERROR } else { DiagnosticStatus::WARN };
            return (level, format!("{} images were not answered: {problem}", self.recent.problems));
        }
        match self.state {
            State::Active if self.recent.answers == 0 => (DiagnosticStatus::WARN, "no image arrived".into()),
            State::Active => (DiagnosticStatus::OK, format!("{:.1} images a second", self.rate())),
            state => (DiagnosticStatus::OK, state.name().into()),
        }
    }

    fn rate(&self) -> f64 {
        f64::from(self.recent.answers) / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    fn values(&self) -> Vec<KeyValue> {
        let Counters { received, answered, dropped, skipped, refused, failed, .. } = self.counters;
        let counts = [
            ("received", received),
            ("answered", answered),
            ("dropped", dropped),
            ("skipped", skipped),
            ("refused", refused),
            ("failed", failed),
        ];
        let mut values = vec![("state", self.state.name().to_owned())];
        values.extend(counts.map(|(key, counter)| (key, counter.get().to_string())));
        values.push(("rate_hz", format!("{:.2}", self.rate())));
        if self.recent.answers > 0 {
            let mean = self.recent.latency / self.recent.answers;
            values.extend([
                ("latency_ms", milliseconds(mean)),
                ("max_latency_ms", milliseconds(self.recent.max_latency)),
            ]);
        }
        values.extend(self.engine.iter().flat_map(EngineReport::values));
        values.into_iter().map(|(key, value)| KeyValue { key: key.into(), value }).collect()
    }
}

impl EngineReport {
    fn values(&self) -> Vec<(&'static str, String)> {
        let Drift { version, confidence, .. } = self.drift;
        let mut values = vec![("version", version_name(version)), ("adapting", self.is_adapting.to_string())];
        values.extend(confidence.map(|confidence| ("confidence", format!("{confidence:.3}"))));
        values
    }
}

fn version_name(version: Version) -> String {
    match version {
        Version::Base => "base".into(),
        Version::File => "file".into(),
        Version::Stored(number) => number.to_string(),
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", 1e3 * time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(counters: &Counters, state: State) -> Report<'_> {
        Report {
            node: "/robot/fieldfit",
            model: "models/lite0",
            state,
            counters,
            recent: counters.take_recent(),
            elapsed: Duration::from_secs(2),
            engine: None,
            failure: None,
        }
    }

    fn status(report: &Report<'_>) -> DiagnosticStatus {
        report.message(Time::default()).status.remove(0)
    }

    /// Catches: a node that refuses every image and says that all is well, and a problem that is never forgotten.
    #[test]
    fn refused_images_are_told_with_their_reason_until_the_next_report() {
        let counters = Counters::default();
        assert!(counters.refuse("the encoding `x` is not supported"));
        assert!(!counters.refuse("the encoding `x` is not supported"), "told once");
        let told = status(&report(&counters, State::Active));
        assert_eq!(told.level, DiagnosticStatus::ERROR);
        assert_eq!(told.message, "2 images were not answered: the encoding `x` is not supported");
        assert_eq!(told.name, "robot/fieldfit: classification");
        assert!(told.values.contains(&KeyValue { key: "refused".into(), value: "2".into() }));
        counters.answer(std::time::Instant::now());
        let told = status(&report(&counters, State::Active));
        assert_eq!((told.level, told.message.as_str()), (DiagnosticStatus::OK, "0.5 images a second"));
        counters.answer(std::time::Instant::now());
        counters.fail("x");
        assert_eq!(status(&report(&counters, State::Active)).level, DiagnosticStatus::WARN, "others are answered");
    }

    /// Catches: an active node without a camera that looks healthy, and an inactive one that looks sick.
    #[test]
    fn silence_is_a_warning_while_the_node_is_active() {
        let counters = Counters::default();
        assert_eq!(status(&report(&counters, State::Active)).level, DiagnosticStatus::WARN);
        let inactive = status(&report(&counters, State::Inactive));
        assert_eq!((inactive.level, inactive.message.as_str()), (DiagnosticStatus::OK, "inactive"));
        let failed = Report { failure: Some("no model".into()), ..report(&counters, State::Unconfigured) };
        assert_eq!((status(&failed).level, status(&failed).message), (DiagnosticStatus::ERROR, "no model".into()));
    }
}
