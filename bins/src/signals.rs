//! Signals: SIGTERM and SIGINT end the server in order, a second one at once.

use std::thread;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Call `drain` with the first signal; leave at once with the second.
pub fn watch(drain: impl FnOnce() + Send + 'static) -> Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("cannot watch for signals")?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut signals = signals.forever();
            if signals.next().is_some() {
                drain();
            }
            if signals.next().is_some() {
                std::process::exit(1);
            }
        })
        .context("cannot start a thread")?;
    Ok(())
}
