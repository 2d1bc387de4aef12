//! Signals: SIGHUP reads certificates again, SIGTERM and SIGINT end the server in order, a second one at once.

use std::thread;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Reload,
    End,
}

/// Call `act` with each signal. The second that asks for the end gets it without further ado.
pub fn watch(act: impl Fn(Signal) + Send + 'static) -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGTERM, SIGINT]).context("cannot watch for signals")?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut ending = false;
            for signal in signals.forever() {
                match signal {
                    SIGHUP => act(Signal::Reload),
                    _ if ending => std::process::exit(1),
                    _ => {
                        ending = true;
                        act(Signal::End);
                    }
                }
            }
        })
        .context("cannot start a thread")?;
    Ok(())
}
