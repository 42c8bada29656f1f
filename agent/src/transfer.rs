//! How a storage is used: how long to wait for it, how often to try again, how fast to send.

use crate::cli::{Context, explained};
use crate::profile::Environment;
use clap::Args;
use icecore::error::{Error, Result};
use icecore::storage::Storage;
use icecore::storage::circuit::{Circuit, Fuse};
use icecore::storage::retry::{Patience, Policy, Retry};
use icecore::storage::throttle::{Clock, Rates, Schedule, Throttle};
use icecore_remote::{Access, Address, Holding, Intent, Secret, Timeouts};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The password of a server that has no variables of its own.
const PASSWORD_VARIABLE: &str = "ICECORE_STORAGE_PASSWORD";

/// Above which these options stand in the help. Each names it by itself: said for all of them at once it would go on to those of the
/// command that come after them.
pub const ELSEWHERE: &str = "Repositories elsewhere";

/// How often a wait looks whether the user wants to stop.
const LOOK: Duration = Duration::from_millis(50);

/// How a storage is used.
#[derive(Args, Clone)]
pub struct TransferArguments {
    /// Give a server up that neither sends nor takes a byte for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..), display_order = 90, help_heading = ELSEWHERE)]
    timeout: u32,
    /// Try again so often what a server fails to do
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(..=100), display_order = 91, help_heading = ELSEWHERE)]
    retries: u32,
    /// Use so many connections at most
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64), display_order = 92, help_heading = ELSEWHERE)]
    connections: u32,
    /// Send no more to the repository: 500 (KiB a second), 2MiB/s, or by the time of day 1MiB/s,08:00-18:00=200KiB/s,22:00-06:00=off
    #[arg(long, value_name = "RATE", value_parser = explained::<Schedule>, display_order = 93, help_heading = ELSEWHERE)]
    limit_upload: Option<Schedule>,
    /// Fetch no more from the repository, as above
    #[arg(long, value_name = "RATE", value_parser = explained::<Schedule>, display_order = 94, help_heading = ELSEWHERE)]
    limit_download: Option<Schedule>,
}

impl TransferArguments {
    /// The storage at an address, tried again and throttled as was asked for.
    ///
    /// # Errors
    /// As [`icecore_remote::open`].
    pub fn connect(
        &self,
        context: &Context<'_>,
        address: &Address,
        intent: Intent,
    ) -> Result<Arc<dyn Storage>> {
        let access = self.access(context);
        let patience = access.patience.clone();
        let open = |_| icecore_remote::open(address, &access, intent);
        let storage = patience.retrying(&address.to_string(), open)?;
        let tried_again = Retry::new(self.throttled(context, storage), patience);
        // Many workers would each try in vain what is down.
        Ok(Arc::new(Circuit::new(Arc::new(tried_again), Fuse::default(), clock(context))))
    }

    /// The containers or buckets of the account at an address that names none; `None` where a storage has no list of them.
    ///
    /// # Errors
    /// As [`icecore_remote::holdings`].
    pub fn holdings(&self, context: &Context<'_>, address: &Address) -> Result<Option<Vec<Holding>>> {
        let access = self.access(context);
        let patience = access.patience.clone();
        patience.retrying(&address.to_string(), |_| icecore_remote::holdings(address, &access))
    }

    /// A storage that is used no faster than was asked for.
    pub fn throttled(&self, context: &Context<'_>, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        let schedule = |limit: &Option<Schedule>| limit.clone().unwrap_or_default();
        let rates = Rates { up: schedule(&self.limit_upload), down: schedule(&self.limit_download) };
        if rates.are_unlimited() {
            return storage;
        }
        Arc::new(Throttle::new(storage, rates, clock(context)))
    }

    /// Requests that are under way at a time, where each waits for an answer from far away.
    pub fn connections(&self) -> usize {
        self.connections as usize
    }

    fn access(&self, context: &Context<'_>) -> Access {
        let idle = Duration::from_secs(u64::from(self.timeout));
        let stop = Arc::clone(&context.stop);
        let policy =
            Policy { attempts: self.retries + 1, seed: u64::from(std::process::id()), ..Policy::default() };
        let global = context.global.clone();
        let (environment, for_the_password) =
            (Arc::clone(&context.environment), Arc::clone(&context.environment));
        Access {
            variable: Arc::new(move |name| variable(&environment, name)),
            home: std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute()),
            user: user_name(),
            password: Arc::new(move || password(&for_the_password)),
            timeouts: Timeouts {
                connect: idle.min(Timeouts::default().connect),
                idle,
                ..Timeouts::default()
            },
            connections: self.connections(),
            patience: Patience::new(policy, Arc::new(move |wait| sleep(wait, &stop))),
            warn: Arc::new(move |text| crate::output::remark(&global, &format!("icecore: {text}"))),
        }
    }
}

/// A variable as this repository has it: what its profile says of it beats what is there.
fn variable(environment: &Environment, name: &str) -> Option<OsString> {
    environment.get(name).map(OsString::from).or_else(|| std::env::var_os(name))
}

fn password(environment: &Environment) -> Result<Option<Secret>> {
    let value = variable(environment, PASSWORD_VARIABLE).filter(|value| !value.is_empty());
    let text =
        |value: OsString| value.into_string().map_err(|_| Error::invalid("not text:", PASSWORD_VARIABLE));
    Ok(value.map(text).transpose()?.map(Secret::new))
}

fn user_name() -> Option<String> {
    let by_variable = |name| std::env::var(name).ok().filter(|user| !user.is_empty());
    by_variable("USER").or_else(|| by_variable("LOGNAME"))
}

/// Waits, unless the user asks to stop.
fn sleep(wait: Duration, stop: &AtomicBool) -> Result<()> {
    let end = Instant::now() + wait;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::interrupted());
        }
        match end.checked_duration_since(Instant::now()) {
            None => return Ok(()),
            Some(left) => std::thread::sleep(left.min(LOOK)),
        }
    }
}

/// A clock for storages that go by one.
pub fn clock(context: &Context<'_>) -> Arc<dyn Clock> {
    Arc::new(Running { begun: Instant::now(), stop: Arc::clone(&context.stop) })
}

/// The time since the program began.
struct Running {
    begun: Instant,
    stop: Arc<AtomicBool>,
}

impl Clock for Running {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn time_of_day(&self) -> Duration {
        let since_midnight = jiff::ZonedDateTime::now().time().duration_since(jiff::civil::Time::midnight());
        Duration::try_from(since_midnight).unwrap_or_default()
    }

    fn sleep(&self, wait: Duration) {
        // Whoever asked to stop is heard where the bytes come from.
        sleep(wait, &self.stop).unwrap_or(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_profile_says_of_the_environment_beats_what_is_there() {
        let pairs = [("PATH", "of the profile"), (PASSWORD_VARIABLE, "secret")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (own, none) = (Environment::new(pairs.into()), Environment::default());
        assert_eq!(variable(&own, "PATH"), Some("of the profile".into()));
        assert_eq!(variable(&none, "PATH"), std::env::var_os("PATH"));
        assert_eq!(
            password(&own).unwrap().map(|secret| secret.expose().to_owned()),
            Some("secret".to_owned())
        );
    }
}
