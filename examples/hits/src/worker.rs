//! A background worker: does a job each second and says so. On SIGTERM it ends
//! the job at hand, takes no other, and ends.

use std::time::Duration;

use crate::counter::Counter;
use crate::settings::Settings;
use crate::stop::StopSignals;

/// How long one job takes.
const JOB: Duration = Duration::from_secs(1);

pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut stop = StopSignals::listen()?;
    settings.mode.before_start().await?;
    let counter = Counter::open(&settings.store).await?;
    let who = &settings.who;
    println!("hits: worker {} {} on {} takes jobs", who.replica, who.release, who.server);
    tokio::select! {
        crash = settings.mode.crash() => Err(crash),
        () = work(&counter, &mut stop) => Ok(()),
    }
}

async fn work(counter: &Counter, stop: &mut StopSignals) {
    for job in 1u64.. {
        let end = tokio::time::sleep(JOB);
        tokio::pin!(end);
        let signal = tokio::select! {
            () = &mut end => None,
            signal = stop.recv() => Some(signal),
        };
        if let Some(signal) = signal {
            println!("hits: {signal}: ending job {job}, then stopping");
            end.await;
        }
        match counter.read().await {
            Ok(hits) => println!("hits: job {job} done; {hits} hits so far"),
            Err(error) => eprintln!("hits: job {job} done; the count cannot be read: {error:#}"),
        }
        if signal.is_some() {
            println!("hits: worker stopped");
            return;
        }
    }
}
