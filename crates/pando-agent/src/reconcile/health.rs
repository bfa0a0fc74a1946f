//! Whether a run is ready, from the answers of its checks.

use pando_model::app::HealthCheck;
use pando_model::time::{Millis, Timestamp};

/// What an image's `HEALTHCHECK` says of when its answers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageRules {
    /// Failures in a row that make it unhealthy, where the file says nothing of its own.
    pub retries: u32,
    /// How long it may take to start before failures count.
    pub start_period: Millis,
}

/// What the checks of one run have said so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Health {
    passed_once: bool,
    /// Of the image that checks itself.
    pub(super) image: Option<ImageRules>,
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

    /// Once the run has ended: what its last check said is still worth telling.
    pub(super) fn ended(&mut self) -> Self {
        Self { answer: self.answer.take(), ..self.anew() }
    }

    /// Of the next run, which is of the same image.
    pub(super) fn anew(&self) -> Self {
        Self { image: self.image, ..Self::default() }
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
        if self.failures >= self.most_failures(rules) {
            self.ready_since = None;
        }
    }

    fn most_failures(&self, rules: &HealthCheck) -> u32 {
        match self.image {
            Some(image) if rules.unhealthy == HealthCheck::UNHEALTHY => image.retries,
            _ => rules.unhealthy,
        }
    }

    /// `None`: nothing is said of it.
    pub(super) fn start_period(&self) -> Option<Millis> {
        self.image.map(|image| image.start_period).filter(|period| *period > Millis::ZERO)
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
        self.passed_once || self.failures >= self.most_failures(rules).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pando_model::app::HealthKind;

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
    fn an_image_says_how_many_failures_count_unless_the_file_does() {
        let image = ImageRules { retries: 2, start_period: Millis::ZERO };
        let ready_after = |failures: u32, unhealthy: u32| {
            let rules = HealthCheck { unhealthy, ..rules() };
            let mut health = Health { image: Some(image), ..Health::default() };
            health.pass(&rules, Timestamp::from_millis(0));
            (0..failures).for_each(|_| health.fail(&rules, "no".to_owned()));
            health.verdict() == Verdict::Ready
        };
        assert_eq!([1, 2].map(|failures| ready_after(failures, HealthCheck::UNHEALTHY)), [true, false]);
        assert_eq!([2, 4, 5].map(|failures| ready_after(failures, 5)), [true, true, false]);
        // Before the first pass they make nothing unhealthy.
        let mut health = Health { image: Some(image), ..Health::default() };
        (0..9).for_each(|_| health.fail(&rules(), "no".to_owned()));
        assert_eq!(health.verdict(), Verdict::Starting);
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
