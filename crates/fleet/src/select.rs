//! Selection: lets the robot's gate judge received candidates and their mean, and activates the best, on trial.

use crate::{
    agent::{Agent, folder},
    error::FleetError,
    judge::{Judge, Measurement, Score},
    key::Digest,
    policy::{Activate, Policy},
    state::{AgentState, Judgement},
    sync_report::{Judged, Problem, SyncReport},
};
use fieldfit::error_messages;
use fieldfit_durable::{Disk, read, remove};
use fieldfit_store::{ActiveVersion, StoreError, Verdict, VersionEntry, VersionState};
use std::path::PathBuf;

/// The mean of candidates while it is judged, in the agent's folder.
const MEAN: &str = "mean.delta";
/// Maximum bytes of the mean.
const MEAN_LIMIT: u64 = 256 << 20;

/// Received candidates that may become active.
#[derive(Default)]
struct Pending {
    /// Those that were not judged.
    new: Vec<VersionEntry>,
    /// Number and accuracy of those that passed against what is active now: they were not chosen, and what was chosen has been
    /// left since.
    passed: Vec<(u32, f64)>,
}

/// Candidate that the gate measured.
struct Measured {
    version: u32,
    delta: Digest,
    path: PathBuf,
    /// `None` if it cannot answer about the gate's images.
    score: Option<Score>,
    accepted: bool,
}

/// What candidates are compared with.
struct Reference {
    active: ActiveVersion,
    /// Score of what runs; `None` if that does not answer about the gate's images.
    score: Option<Score>,
    floor: Score,
}

impl Reference {
    /// Returns the verdict on a score, in words.
    fn verdict(&self, score: &Score) -> (bool, String) {
        let percent = |score: &Score| format!("{:.1} %", 100.0 * score.accuracy);
        let (accepted, rival, other) = match &self.score {
            Some(active) => (score.is_no_worse_than(active), "what runs", active),
            None => (score.accuracy > self.floor.accuracy, "a constant answer", &self.floor),
        };
        let than = if accepted { "" } else { "no better than " };
        let reason = format!("{} on {} gate images, {than}{} by {rival}", percent(score), score.images, percent(other));
        (accepted, reason)
    }
}

impl Agent<'_> {
    /// Judges what was received and not judged yet, and activates the best that passed.
    pub(crate) fn select(
        &self,
        policy: &Policy,
        judge: &dyn Judge,
        state: &mut AgentState,
        report: &mut SyncReport,
    ) -> Result<(), FleetError> {
        let active = self.store.active_version()?;
        if let Some(version) = active.version.filter(|version| self.is_on_trial(*version)) {
            report.waits_for = Some(version);
            return Ok(());
        }
        let Pending { new, passed } = self.pending(state, active.hash.map(Digest))?;
        if new.is_empty() && passed.is_empty() {
            return Ok(());
        }
        let running = active.version.map(|version| self.store.delta_path(version));
        let score = match judge.measure(running.as_deref())? {
            Measurement::Scored(score) => Some(score),
            Measurement::Unfit(_) => None,
        };
        let reference = Reference { active, score, floor: judge.floor() };
        let mut measured = Vec::new();
        for entry in &new {
            measured.push(self.measure(entry, &reference, judge, report)?);
        }
        let mean = match policy.merge {
            true => self.mean(&measured, running, &reference, judge, report)?,
            false => None,
        };
        self.record(&measured, &reference, state, report)?;
        let best = best(&measured, &passed);
        if policy.activate == Activate::IfGatePasses {
            self.activate(mean, best, &reference, report)?;
        }
        Ok(())
    }

    fn is_on_trial(&self, version: u32) -> bool {
        self.store.version(version).is_ok_and(|entry| matches!(entry.state, VersionState::Trial(_)))
    }

    /// Returns the received candidates that may become active in place of that version.
    fn pending(&self, state: &AgentState, active: Option<Digest>) -> Result<Pending, FleetError> {
        let mut pending = Pending::default();
        for entry in self.store.versions()? {
            let delta = Digest(entry.hash);
            if entry.state != VersionState::Candidate || !state.received.contains(&delta) {
                continue;
            }
            match state.judged.get(&delta) {
                None => pending.new.push(entry),
                Some(judged) if judged.against == active => pending.passed.push((entry.version, judged.accuracy)),
                Some(_) => {}
            }
        }
        Ok(pending)
    }

    fn measure(
        &self,
        entry: &VersionEntry,
        reference: &Reference,
        judge: &dyn Judge,
        report: &mut SyncReport,
    ) -> Result<Measured, FleetError> {
        let (version, path) = (entry.version, self.store.delta_path(entry.version));
        let (score, accepted, reason) = match judge.measure(Some(&path))? {
            Measurement::Unfit(reason) => (None, false, reason),
            Measurement::Scored(score) => {
                let (accepted, reason) = reference.verdict(&score);
                (Some(score), accepted, reason)
            }
        };
        report.judged.push(Judged { version: Some(version), accepted, reason });
        Ok(Measured { version, delta: Digest(entry.hash), path, score, accepted })
    }

    /// Judges the mean of what runs and all new candidates, and returns its file if it is accepted and no worse than the best of
    /// them. Candidates that miss classes count: the mean's head has all of them.
    fn mean(
        &self,
        measured: &[Measured],
        running: Option<PathBuf>,
        reference: &Reference,
        judge: &dyn Judge,
        report: &mut SyncReport,
    ) -> Result<Option<Vec<u8>>, FleetError> {
        let members: Vec<PathBuf> = running.into_iter().chain(measured.iter().map(|one| one.path.clone())).collect();
        if members.len() < 2 {
            return Ok(None);
        }
        let path = folder(self.store).join(MEAN);
        if let Err(error) = judge.merge(&members, &path) {
            let reason = error_messages(&error).join(": ");
            report.problems.push(Problem { key: "the mean of the candidates".to_owned(), reason });
            return Ok(None);
        }
        let measurement = judge.measure(Some(&path))?;
        let file = read(&Disk, &path, MEAN_LIMIT)?;
        remove(&Disk, &path)?;
        let (accepted, reason) = match &measurement {
            Measurement::Unfit(reason) => (false, reason.clone()),
            Measurement::Scored(score) => {
                let best = measured.iter().filter(|one| one.accepted).filter_map(|one| one.score);
                let (accepted, reason) = reference.verdict(score);
                (accepted && best.into_iter().all(|one| score.is_no_worse_than(&one)), reason)
            }
        };
        report.judged.push(Judged { version: None, accepted, reason });
        Ok(accepted.then_some(file))
    }

    /// Records the verdicts: what failed is refused, what passed is remembered with what it was compared with.
    fn record(
        &self,
        measured: &[Measured],
        reference: &Reference,
        state: &mut AgentState,
        report: &SyncReport,
    ) -> Result<(), FleetError> {
        let against = reference.active.hash.map(Digest);
        for Measured { delta, score, accepted, .. } in measured {
            if let (Some(score), true) = (score, accepted) {
                state.judged.insert(*delta, Judgement { against, accuracy: score.accuracy });
            }
        }
        state.save(self.store)?;
        for Judged { version, accepted, reason } in &report.judged {
            if let (Some(version), false) = (version, accepted) {
                self.store.refuse(*version, reason)?;
            }
        }
        Ok(())
    }

    /// Activates the mean or the best candidate, unless something else is active by now: the next sync then judges again.
    fn activate(
        &self,
        mean: Option<Vec<u8>>,
        best: Option<u32>,
        reference: &Reference,
        report: &mut SyncReport,
    ) -> Result<(), FleetError> {
        let activated = match (mean, best) {
            (Some(mean), _) => self.store.add_judged(&mean, None, Verdict::Activate, Some(&reference.active)).map(Some),
            (None, Some(version)) => self.store.activate_over(version, &reference.active).map(|()| Some(version)),
            (None, None) => Ok(None),
        };
        match activated {
            Ok(version) => report.activated = version,
            Err(error @ StoreError::ActiveChanged { .. }) => log::warn!("nothing is activated: {error}"),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Returns the candidate of the highest accuracy, of equals the one that came first.
fn best(measured: &[Measured], passed: &[(u32, f64)]) -> Option<u32> {
    let new = measured.iter().filter(|one| one.accepted).filter_map(|one| Some((one.version, one.score?.accuracy)));
    let all = passed.iter().copied().chain(new);
    all.max_by(|(a, x), (b, y)| x.total_cmp(y).then(b.cmp(a))).map(|(version, _)| version)
}
