//! Signals, and finding processes by the mark that a stage puts in their environment.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::MARK;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Interrupt,
    Terminate,
    Quit,
    Kill,
    /// Stands still until [`Signal::Continue`].
    Stop,
    Continue,
}

impl Signal {
    fn number(self) -> libc::c_int {
        match self {
            Self::Interrupt => libc::SIGINT,
            Self::Terminate => libc::SIGTERM,
            Self::Quit => libc::SIGQUIT,
            Self::Kill => libc::SIGKILL,
            Self::Stop => libc::SIGSTOP,
            Self::Continue => libc::SIGCONT,
        }
    }
}

/// Sends a signal to one process; one that is gone already is no error.
pub fn send(pid: u32, signal: Signal) {
    kill(libc::pid_t::try_from(pid).ok(), signal);
}

pub(super) fn send_group(leader: u32, signal: Signal) {
    kill(libc::pid_t::try_from(leader).ok().map(|pid| -pid), signal);
}

fn kill(target: Option<libc::pid_t>, signal: Signal) {
    // 0, 1 and -1 would reach far more than was meant.
    if let Some(pid) = target.filter(|pid| pid.abs() > 1) {
        // SAFETY: kill takes two integers and touches no memory of ours.
        unsafe { libc::kill(pid, signal.number()) };
    }
}

pub fn alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Makes the process get `signal` when the thread that starts it dies.
pub(super) fn with_parent(command: &mut Command, signal: Signal) {
    let parent = std::process::id();
    let number = signal.number();
    // SAFETY: between fork and exec only prctl and getppid are called, both safe after fork; nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, number as libc::c_ulong) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            // It died before the line above: the signal will never come.
            if libc::getppid().unsigned_abs() != parent {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        });
    }
}

/// Processes that were started on the stage of this directory, their children included.
pub fn marked(directory: &Path) -> Vec<u32> {
    let mut mark = MARK.as_bytes().to_vec();
    mark.push(b'=');
    mark.extend_from_slice(directory.as_os_str().as_bytes());
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok())
        .filter(|pid| {
            // A process without an environment to read is ending, another user's, or the kernel's.
            std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment
                    .split(|byte| *byte == 0)
                    .any(|variable| variable == mark)
            })
        })
        .collect()
}

/// Kills what is left of a stage. A killed process may have started another just before: look until there is none.
pub(super) fn kill_marked(directory: &Path) {
    for _ in 0..100 {
        let left = marked(directory);
        if left.is_empty() {
            return;
        }
        for pid in left {
            send(pid, Signal::Kill);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
