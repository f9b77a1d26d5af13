//! Memory of a process, read and nothing else.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes by address. What cannot be read is `None`; a process changes while it is read, so what is read may be anything.
pub(in crate::process) trait Memory {
    fn read(&self, address: u64, into: &mut [u8]) -> Option<()>;

    fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Some(u64::from_le_bytes(bytes))
    }

    fn half(&self, address: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Some(u32::from_le_bytes(bytes))
    }
}

/// Through /proc/PID/mem.
pub(in crate::process) struct ProcessMemory(File);

impl ProcessMemory {
    pub(in crate::process) fn open(file: &Path) -> Option<Self> {
        File::open(file).ok().map(Self)
    }
}

impl Memory for ProcessMemory {
    fn read(&self, address: u64, into: &mut [u8]) -> Option<()> {
        self.0.read_exact_at(into, address).ok()
    }
}

#[cfg(test)]
pub(in crate::process) mod image {
    use std::collections::BTreeMap;

    use super::Memory;

    /// Memory that is made up.
    #[derive(Default)]
    pub(in crate::process) struct Image(BTreeMap<u64, u8>);

    impl Image {
        pub(in crate::process) fn put(&mut self, address: u64, bytes: &[u8]) {
            self.0.extend((address..).zip(bytes.iter().copied()));
        }

        pub(in crate::process) fn words(&mut self, address: u64, words: &[u64]) {
            for (at, word) in words.iter().enumerate() {
                self.put(address + 8 * at as u64, &word.to_le_bytes());
            }
        }
    }

    impl Memory for Image {
        fn read(&self, address: u64, into: &mut [u8]) -> Option<()> {
            for (at, byte) in into.iter_mut().enumerate() {
                *byte = *self.0.get(&address.checked_add(at as u64)?)?;
            }
            Some(())
        }
    }
}
