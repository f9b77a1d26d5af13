//! The few files of /proc that tell who a process is (proc(5)).
//!
//! Enters: a root directory and process ids. Leaves: contents, cut to a bound. Deliberately absent: any interpretation.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most bytes read of any file.
const FILE_MAX_BYTES: u64 = 64 * 1024;
/// Most bytes read of a list of mappings where all of them count.
const MAPS_MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Threads looked at of one process.
const THREADS_MAX: usize = 1_024;

/// A /proc, by the path it is mounted at.
#[derive(Clone, Debug)]
pub struct Procfs {
    root: PathBuf,
}

/// What /proc/PID/stat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) parent_pid: u32,
    /// In clock ticks since boot.
    pub(super) start_ticks: u64,
}

impl Procfs {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The boot id, or empty.
    pub fn boot_id(&self) -> String {
        self.text(Path::new("sys/kernel/random/boot_id"))
            .trim()
            .to_owned()
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    }

    pub(super) fn stat(&self, pid: u32) -> Option<Stat> {
        let text = self.text(&PathBuf::from(format!("{pid}/stat")));
        // The command name is in parentheses and may contain any character, parentheses too.
        let behind_name = &text[text.rfind(')')? + 1..];
        let mut fields = behind_name.split_ascii_whitespace();
        let parent_pid = fields.nth(1)?.parse().ok()?;
        let start_ticks = fields.nth(17)?.parse().ok()?;
        Some(Stat {
            parent_pid,
            start_ticks,
        })
    }

    pub(super) fn executable(&self, pid: u32) -> String {
        let target = std::fs::read_link(self.root.join(format!("{pid}/exe"))).unwrap_or_default();
        target.to_string_lossy().trim_end_matches(" (deleted)").to_owned()
    }

    /// The executable's file as the process sees it, whatever mount namespace it lives in.
    pub(super) fn executable_file(&self, pid: u32) -> PathBuf {
        self.root.join(format!("{pid}/exe"))
    }

    /// The arguments, first the program's own name.
    pub(super) fn arguments(&self, pid: u32) -> Vec<String> {
        let bytes = self.bytes(&PathBuf::from(format!("{pid}/cmdline")));
        let text = String::from_utf8_lossy(&bytes);
        text.trim_end_matches('\0')
            .split('\0')
            .map(str::to_owned)
            .collect()
    }

    pub(super) fn name(&self, pid: u32) -> String {
        self.text(&PathBuf::from(format!("{pid}/comm"))).trim().to_owned()
    }

    pub(super) fn cgroup(&self, pid: u32) -> String {
        self.text(&PathBuf::from(format!("{pid}/cgroup")))
    }

    pub(super) fn maps(&self, pid: u32) -> String {
        self.text(&PathBuf::from(format!("{pid}/maps")))
    }

    /// The same to its end.
    pub(super) fn all_maps(&self, pid: u32) -> String {
        let bytes = self.bytes_up_to(&PathBuf::from(format!("{pid}/maps")), MAPS_MAX_BYTES);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A file that the process maps. The path is the process's own in a mount namespace of its own, and ours where it only
    /// has another root directory.
    pub(super) fn mapped_file(&self, pid: u32, path: &str) -> PathBuf {
        let inside = self
            .root
            .join(format!("{pid}/root"))
            .join(path.trim_start_matches('/'));
        if inside.exists() {
            inside
        } else {
            PathBuf::from(path)
        }
    }

    /// Its threads: as the kernel numbers them, and as the process itself does (`NSpid` of proc(5), `status`).
    pub(super) fn threads(&self, pid: u32) -> Vec<(u32, u32)> {
        let entries = std::fs::read_dir(self.root.join(format!("{pid}/task")))
            .into_iter()
            .flatten()
            .flatten();
        let tids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        tids.take(THREADS_MAX)
            .map(|tid| {
                let status = self.text(&PathBuf::from(format!("{pid}/task/{tid}/status")));
                let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
                let own = numbers.and_then(|numbers| numbers.split_ascii_whitespace().last()?.parse().ok());
                (tid, own.unwrap_or(tid))
            })
            .collect()
    }

    /// What a thread is called, by the kernel's number.
    pub(super) fn thread_name(&self, pid: u32, tid: u32) -> String {
        let name = self.text(&PathBuf::from(format!("{pid}/task/{tid}/comm")));
        name.trim_end().to_owned()
    }

    pub(super) fn memory_file(&self, pid: u32) -> PathBuf {
        self.root.join(format!("{pid}/mem"))
    }

    pub(super) fn working_directory(&self, pid: u32) -> PathBuf {
        std::fs::read_link(self.root.join(format!("{pid}/cwd"))).unwrap_or_default()
    }

    /// Values of a few environment variables; nothing else of the environment leaves this function.
    pub(super) fn environment(&self, pid: u32, wanted: &[&str]) -> Vec<Option<String>> {
        let bytes = self.bytes(&PathBuf::from(format!("{pid}/environ")));
        let find = |name: &&str| {
            bytes.split(|byte| *byte == 0).find_map(|entry| {
                let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
                Some(String::from_utf8_lossy(value).into_owned())
            })
        };
        wanted.iter().map(find).collect()
    }

    fn text(&self, path: &Path) -> String {
        String::from_utf8_lossy(&self.bytes(path)).into_owned()
    }

    fn bytes(&self, path: &Path) -> Vec<u8> {
        self.bytes_up_to(path, FILE_MAX_BYTES)
    }

    fn bytes_up_to(&self, path: &Path, limit: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Ok(file) = File::open(self.root.join(path))
            && file.take(limit).read_to_end(&mut bytes).is_err()
        {
            bytes.clear();
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_can_be_read() {
        let procfs = Procfs::new("/proc");
        let pid = std::process::id();
        let stat = procfs.stat(pid).unwrap();
        assert!(stat.parent_pid > 0 && stat.start_ticks > 0);
        assert!(procfs.executable(pid).contains("spanhound"));
        assert!(!procfs.arguments(pid)[0].is_empty());
        assert!(!procfs.boot_id().is_empty());
    }

    #[test]
    fn a_process_that_is_gone_says_nothing() {
        let procfs = Procfs::new("/proc");
        assert_eq!(procfs.stat(u32::MAX), None);
        assert_eq!(procfs.executable(u32::MAX), "");
        assert_eq!(procfs.arguments(u32::MAX), [""]);
    }
}
