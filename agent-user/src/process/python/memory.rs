//! Memory of a process, read and nothing else.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes by address. What cannot be read is `None`; a process changes while it is read, so what is read may be anything.
pub(super) trait Memory {
    fn read(&self, address: u64, into: &mut [u8]) -> Option<()>;

    fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Some(u64::from_le_bytes(bytes))
    }
}

/// Through /proc/PID/mem.
pub(super) struct ProcessMemory(File);

impl ProcessMemory {
    pub(super) fn open(file: &Path) -> Option<Self> {
        File::open(file).ok().map(Self)
    }
}

impl Memory for ProcessMemory {
    fn read(&self, address: u64, into: &mut [u8]) -> Option<()> {
        self.0.read_exact_at(into, address).ok()
    }
}
