//! Whether a run is ready, from the answers of its checks.

use pando_model::app::HealthCheck;
use pando_model::time::Timestamp;

/// What the checks of one run have said so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Health {
    passed_once: bool,
    passes: u32,
    failures: u32,
    /// Since when it has been ready without a break.
    pub(super) ready_since: Option<Timestamp>,
    /// What the last check said when it failed.
    pub(super) answer: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No check has passed yet.
    Starting,
    Ready,
    /// It was ready, and is not now.
    Unhealthy,
}

impl Health {
    /// Of a run without checks: running is ready.
    pub(super) fn unchecked(now: Timestamp) -> Self {
        Self { passed_once: true, ready_since: Some(now), ..Self::default() }
    }

    /// Of a run that has ended: what its last check said is still worth telling.
    pub(super) fn ended(answer: Option<String>) -> Self {
        Self { answer, ..Self::default() }
    }

    /// The first pass ever makes it ready; after a break, `healthy` in a row do.
    pub(super) fn pass(&mut self, rules: &HealthCheck, now: Timestamp) {
        self.answer = None;
        self.failures = 0;
        self.passes = self.passes.saturating_add(1);
        if !self.passed_once || self.passes >= rules.healthy {
            self.passed_once = true;
            self.ready_since.get_or_insert(now);
        }
    }

    pub(super) fn fail(&mut self, rules: &HealthCheck, answer: String) {
        self.answer = Some(answer);
        self.passes = 0;
        self.failures = self.failures.saturating_add(1);
        if self.failures >= rules.unhealthy {
            self.ready_since = None;
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        match (self.ready_since, self.passed_once) {
            (Some(_), _) => Verdict::Ready,
            (None, true) => Verdict::Unhealthy,
            (None, false) => Verdict::Starting,
        }
    }

    /// Enough was seen to say what is true of a run that was there before us.
    pub(super) fn is_settled(&self, rules: &HealthCheck) -> bool {
        self.passed_once || self.failures >= rules.unhealthy.max(1)
    }
}

#[cfg(test)]
mod tests {
    use pando_model::app::HealthKind;
    use pando_model::time::Millis;

    use super::*;

    fn rules() -> HealthCheck {
        HealthCheck {
            kind: HealthKind::Tcp,
            interval: Millis(1000),
            timeout: Millis(1000),
            healthy: 2,
            unhealthy: 3,
            start_timeout: Millis(60_000),
        }
    }

    /// `+` is a pass, `-` a failure; answers the verdict after each, and the time ready since at the end.
    fn check(answers: &str, verdicts: &str, ready_since: Option<i64>) {
        let mut health = Health::default();
        let mut told = String::new();
        for (millis, answer) in answers.chars().enumerate() {
            let now = Timestamp::from_millis(i64::try_from(millis).unwrap());
            match answer {
                '+' => health.pass(&rules(), now),
                _ => health.fail(&rules(), "no".to_owned()),
            }
            told.push(match health.verdict() {
                Verdict::Starting => 's',
                Verdict::Ready => 'r',
                Verdict::Unhealthy => 'u',
            });
        }
        assert_eq!(told, verdicts, "{answers}");
        assert_eq!(health.ready_since, ready_since.map(Timestamp::from_millis), "{answers}");
        assert_eq!(health.answer.is_some(), answers.ends_with('-'), "{answers}");
    }

    #[test]
    fn one_pass_makes_ready_three_failures_unmake_two_passes_bring_back() {
        check("+", "r", Some(0));
        check("-----", "sssss", None);
        check("--+", "ssr", Some(2));
        check("+--+", "rrrr", Some(0));
        check("+---", "rrru", None);
        check("+---+-++", "rrruuuur", Some(7));
        check("+--+--+", "rrrrrrr", Some(0));
    }
}
