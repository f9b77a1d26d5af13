//! Stage: a private directory and the processes that live in it.
//!
//! Enters: commands. Leaves: running processes, and, when the stage is dropped, nothing: neither process nor file. A stage
//! whose owner was killed outright loses its processes with it (the kernel signals them) and its directory when the next
//! stage opens. Bounded: by who uses it. Deliberately absent: restarting what ends.

mod port;
mod process;

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub use port::{free, wait_listening};
pub use process::{Signal, alive, marked, send};
use process::{kill_marked, with_parent};

/// In the environment of every process of a stage: the stage's directory.
const MARK: &str = "SPANHOUND_STAGE";
const PREFIX: &str = "spanhound-";

pub struct Stage {
    directory: PathBuf,
    /// In the order they were started; stopped in reverse.
    actors: Vec<Actor>,
}

struct Actor {
    name: String,
    child: std::process::Child,
    stop: Signal,
}

impl Stage {
    /// A directory of its own below the system's temporary one, readable by other users.
    pub fn open(name: &str) -> Result<Self> {
        let temporary = std::env::temp_dir();
        remove_abandoned(&temporary);
        let directory = temporary.join(format!("{PREFIX}{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(Self {
            directory,
            actors: Vec::new(),
        })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A directory below the stage's, owned by the given user and group where there is one.
    pub fn subdirectory(&self, name: &str, owner: Option<(u32, u32)>) -> Result<PathBuf> {
        let path = self.directory.join(name);
        std::fs::create_dir_all(&path)?;
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(&path, Some(user), Some(group))?;
        }
        Ok(path)
    }

    /// Starts a process in a group of its own, its output in `NAME.log`. `stop` asks it to end; it also gets that signal
    /// when the thread that started it dies.
    pub fn start(&mut self, name: &str, mut command: Command, stop: Signal) -> Result<u32> {
        let log = File::create(self.log(name)).with_context(|| format!("cannot write the log of {name}"))?;
        command
            .env(MARK, &self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        with_parent(&mut command, stop);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name} ({:?})", command.get_program()))?;
        let pid = child.id();
        self.actors.push(Actor {
            name: name.to_owned(),
            child,
            stop,
        });
        Ok(pid)
    }

    /// Starts it and waits until it listens.
    pub fn start_server(&mut self, name: &str, command: Command, stop: Signal, port: u16) -> Result<u32> {
        let pid = self.start(name, command, stop)?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while !wait_listening(port, Duration::from_millis(200)) {
            if let Some(status) = self.ended(name)? {
                bail!("{name} ended while starting: {status}\n{}", self.last_words(name));
            }
            if Instant::now() > deadline {
                bail!("{name} does not listen on port {port}\n{}", self.last_words(name));
            }
        }
        Ok(pid)
    }

    /// Runs a process of the stage to its end.
    pub fn run(&self, name: &str, mut command: Command) -> Result<()> {
        let log = File::create(self.log(name))?;
        command
            .env(MARK, &self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        with_parent(&mut command, Signal::Kill);
        let status = command
            .status()
            .with_context(|| format!("cannot start {name} ({:?})", command.get_program()))?;
        if !status.success() {
            bail!("{name} failed: {status}\n{}", self.last_words(name));
        }
        Ok(())
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }

    /// The end of a process's log.
    pub fn last_words(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.log(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self, name: &str) -> Result<Option<std::process::ExitStatus>> {
        Ok(self.actor(name)?.child.try_wait()?)
    }

    /// The first process that has ended by itself, and how.
    pub fn any_ended(&mut self) -> Option<(String, std::process::ExitStatus)> {
        self.actors.iter_mut().find_map(|actor| {
            let status = actor.child.try_wait().ok().flatten()?;
            Some((actor.name.clone(), status))
        })
    }

    /// Asks it to end, waits, and kills it where it does not. Returns how it ended.
    pub fn stop(&mut self, name: &str) -> Result<std::process::ExitStatus> {
        let stop = self.actor(name)?.stop;
        self.stop_with(name, stop)
    }

    pub fn stop_with(&mut self, name: &str, signal: Signal) -> Result<std::process::ExitStatus> {
        let mut actor = {
            let index = self
                .actors
                .iter()
                .position(|actor| actor.name == name)
                .with_context(|| unknown(name))?;
            self.actors.remove(index)
        };
        actor.end(signal)
    }

    fn actor(&mut self, name: &str) -> Result<&mut Actor> {
        self.actors
            .iter_mut()
            .find(|actor| actor.name == name)
            .with_context(|| unknown(name))
    }
}

fn unknown(name: &str) -> String {
    format!("there is no process called {name} on the stage")
}

impl Actor {
    fn end(&mut self, signal: Signal) -> Result<std::process::ExitStatus> {
        let pid = self.child.id();
        if self.child.try_wait()?.is_none() {
            send(pid, signal);
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    send(pid, Signal::Kill);
                    break self.child.wait()?;
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        // What it started and did not take along.
        process::send_group(pid, Signal::Kill);
        Ok(status)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let keep = std::env::var_os("SPANHOUND_KEEP_STAGE").is_some();
        while let Some(mut actor) = self.actors.pop() {
            let stop = actor.stop;
            if let Err(error) = actor.end(stop) {
                eprintln!("{} could not be stopped: {error:#}", actor.name);
            }
        }
        kill_marked(&self.directory);
        if keep {
            eprintln!("kept {}", self.directory.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("{} could not be removed: {error}", self.directory.display());
        }
    }
}

/// Removes what stages whose owner is gone have left: their directory's name ends with the owner's process id.
fn remove_abandoned(temporary: &Path) {
    let Ok(entries) = std::fs::read_dir(temporary) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.rsplit('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !alive(pid)) {
            kill_marked(&entry.path());
            // Another user's directory stays; it is not ours to complain about.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_dropped_stage_leaves_neither_process_nor_file() {
        let mut stage = Stage::open("test-drop").unwrap();
        let directory = stage.directory().to_path_buf();
        // One that ends when asked, one that does not, and a grandchild in a session of its own.
        stage
            .start("polite", sleeper("sleep 1000"), Signal::Terminate)
            .unwrap();
        stage
            .start(
                "parent",
                sleeper("setsid sleep 1000 & sleep 1000"),
                Signal::Terminate,
            )
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while marked(&directory).len() < 4 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(
            marked(&directory).len() >= 3,
            "the stage's processes carry its mark"
        );
        drop(stage);
        assert_eq!(marked(&directory), Vec::<u32>::new());
        assert!(!directory.exists());
    }

    #[test]
    fn a_server_that_ends_while_starting_is_reported_with_its_last_words() {
        let mut stage = Stage::open("test-ended").unwrap();
        let port = free(0).unwrap();
        let error = stage.start_server(
            "broken",
            sleeper("echo no such option; exit 3"),
            Signal::Terminate,
            port,
        );
        let text = format!("{:#}", error.unwrap_err());
        assert!(text.contains("no such option") && text.contains('3'), "{text}");
    }

    #[test]
    fn an_abandoned_stage_is_removed_and_a_living_one_is_not() {
        let temporary = std::env::temp_dir().join(format!("stage-test-{}", std::process::id()));
        let abandoned = temporary.join(format!("{PREFIX}old-{}", u32::MAX));
        let living = temporary.join(format!("{PREFIX}new-{}", std::process::id()));
        std::fs::create_dir_all(&abandoned).unwrap();
        std::fs::create_dir_all(&living).unwrap();
        remove_abandoned(&temporary);
        let left = (abandoned.exists(), living.exists());
        std::fs::remove_dir_all(&temporary).unwrap();
        assert_eq!(left, (false, true));
    }
}
