//! One run of the training command.

use std::process::{Child, Command, ExitStatus};

use super::words::{Values, Words};
use crate::error::{Error, Result};

/// How a run ended.
pub(super) enum End {
    /// With exit code 0, and nothing asked it to end.
    Success,
    /// With this exit code; 128 and its number for a signal.
    Failed(u8),
}

/// Runs the command, and passes signals on to it.
pub(super) fn run(words: &Words, values: &Values) -> Result<End> {
    let filled = words.fill(values);
    let Some((program, arguments)) = filled.split_first() else {
        return Err(Error::Usage("the command has no words".to_owned()));
    };
    let mut command = Command::new(program);
    command.args(arguments);
    let signals = signals::Listener::new().map_err(Error::io("listen to signals for", program))?;
    let mut child = command.spawn().map_err(Error::io("run", program))?;
    let status = signals.pass_on(&mut child, Child::wait);
    let (status, asked) = status.map_err(Error::io("wait for", program))?;
    Ok(match (code(status), asked) {
        (0, None) => End::Success,
        (0, Some(signal)) => End::Failed(128 + signal),
        (code, _) => End::Failed(code),
    })
}

fn code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return 128 + signal as u8;
    }
    match status.code() {
        Some(code) => code as u8,
        None => 1,
    }
}

#[cfg(unix)]
mod signals {
    use std::io::{self, IsTerminal as _};
    use std::process::{Child, ExitStatus};
    use std::sync::atomic::{AtomicU8, Ordering};

    use rustix::process::{Pid, Signal, kill_process};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    use signal_hook::iterator::Signals;

    /// Hears signals instead of ending by them.
    pub(super) struct Listener(Signals);

    impl Listener {
        pub(super) fn new() -> io::Result<Listener> {
            let all = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];
            Signals::new(all).map(Listener)
        }

        /// Passes signals on to the child while `wait` waits for it; and says which of those came last
        /// that ask to end.
        pub(super) fn pass_on(
            mut self,
            child: &mut Child,
            wait: impl FnOnce(&mut Child) -> io::Result<ExitStatus>,
        ) -> io::Result<(ExitStatus, Option<u8>)> {
            let pid = Pid::from_child(child);
            // A terminal sends its signals to the child too.
            let by_terminal = io::stdin().is_terminal();
            let asked = AtomicU8::new(0);
            let handle = self.0.handle();
            let status = std::thread::scope(|scope| {
                scope.spawn(|| {
                    for signal in self.0.forever() {
                        let is_request = !matches!(signal, SIGUSR1 | SIGUSR2);
                        if is_request {
                            asked.store(signal as u8, Ordering::Relaxed);
                        }
                        let has_it = by_terminal && matches!(signal, SIGINT | SIGQUIT);
                        if let Some(signal) = Signal::from_named_raw(signal).filter(|_| !has_it) {
                            let _ = kill_process(pid, signal);
                        }
                    }
                });
                let status = wait(child);
                handle.close();
                status
            })?;
            let asked = asked.into_inner();
            Ok((status, (asked != 0).then_some(asked)))
        }
    }
}

#[cfg(not(unix))]
mod signals {
    use std::io;
    use std::process::{Child, ExitStatus};

    /// A console sends its signals to all of its programs.
    pub(super) struct Listener;

    impl Listener {
        pub(super) fn new() -> io::Result<Listener> {
            Ok(Listener)
        }

        pub(super) fn pass_on(
            self,
            child: &mut Child,
            wait: impl FnOnce(&mut Child) -> io::Result<ExitStatus>,
        ) -> io::Result<(ExitStatus, Option<u8>)> {
            Ok((wait(child)?, None))
        }
    }
}
