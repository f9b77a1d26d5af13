//! Inodes: which sockets are older than capture, told by the numbers of their inodes.
//!
//! Enters: the number of a socket's inode. Leaves: whether the kernel gave it out before capture began. A Unix socket counts
//! no bytes, so nothing else tells that some moved before. The kernel (`get_next_ino` of `fs/inode.c`) hands numbers to its
//! processors in batches, in order, and each uses up its own: so a number is older when it is in the batch a processor was at
//! and not beyond that processor's last, or in another batch handed out by then. Bounded: one number for each processor.
//! What is in doubt counts as older: numbers of processors this process may not run on, and those given out while it looks.

use std::{fs::File, io, os::fd::OwnedFd, os::unix::fs::MetadataExt, os::unix::net::UnixDatagram};

use rustc_hash::FxHashMap;

/// `LAST_INO_BATCH` of `fs/inode.c`.
const BATCH: u32 = 1024;

/// What numbers had been given out.
#[derive(Debug, Default)]
pub(super) struct Inodes {
    /// Last number of each processor, by the batch it is in.
    last: FxHashMap<u32, u32>,
    /// Last number of the batch handed out last; `None` where nothing is known.
    newest: Option<u32>,
}

impl Inodes {
    /// Asks each processor for a number now. Where that fails nothing is older.
    pub(super) fn now() -> Self {
        // A thread of its own: where it may run is changed on the way.
        let numbers = std::thread::scope(|scope| scope.spawn(numbers).join());
        numbers.map_or_else(|_| Self::default(), |numbers| Self::of(&numbers))
    }

    fn of(numbers: &[u32]) -> Self {
        let mut this = Self::default();
        for &number in numbers {
            this.last.insert(batch(number), number);
            let end = batch(number).wrapping_mul(BATCH).wrapping_add(BATCH);
            if this.newest.is_none_or(|newest| is_behind(newest, end)) {
                this.newest = Some(end);
            }
        }
        this
    }

    /// Whether a socket was there before. A number of 0 is not known.
    pub(super) fn is_older(&self, number: u32) -> bool {
        let Some(newest) = self.newest.filter(|_| number != 0) else {
            return false;
        };
        match self.last.get(&batch(number)) {
            Some(&last) => !is_behind(last, number),
            None => !is_behind(newest, number),
        }
    }
}

/// The last number of a batch is the one that its count divides.
fn batch(number: u32) -> u32 {
    number.wrapping_sub(1) / BATCH
}

/// Whether `later` was given out behind `earlier`. (Numbers begin anew after four thousand million.)
fn is_behind(earlier: u32, later: u32) -> bool {
    (later.wrapping_sub(earlier) as i32) > 0
}

/// A number of each processor that this thread may run on.
fn numbers() -> Vec<u32> {
    let processors = aya::util::online_cpus().unwrap_or_default();
    let asked = processors.into_iter().filter(|&processor| go_to(processor));
    asked.filter_map(|_| number().ok()).collect()
}

fn go_to(processor: u32) -> bool {
    // SAFETY: zeroes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if processor as usize >= libc::CPU_SETSIZE as usize {
        return false;
    }
    // SAFETY: a number the set has room for; the set is as long as said. Only this thread is moved.
    unsafe {
        libc::CPU_SET(processor as usize, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set) == 0
    }
}

/// The next number, of a socket that goes at once.
fn number() -> io::Result<u32> {
    let socket = OwnedFd::from(UnixDatagram::unbound()?);
    // The kernel's numbers have so many bits.
    Ok(File::from(socket).metadata()?.ino() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_up_to_each_processors_last_are_older() {
        let inodes = Inodes::of(&[5 * BATCH + 100, 9 * BATCH + 7]);
        for older in [
            1,
            BATCH,
            5 * BATCH + 1,
            5 * BATCH + 100,
            6 * BATCH + 1000,
            9 * BATCH + 7,
        ] {
            assert!(inodes.is_older(older), "{older}");
        }
        // The last number of a batch belongs to it.
        for newer in [
            5 * BATCH + 101,
            6 * BATCH,
            9 * BATCH + 8,
            10 * BATCH,
            10 * BATCH + 1,
            40 * BATCH,
        ] {
            assert!(!inodes.is_older(newer), "{newer}");
        }
        assert!(!inodes.is_older(0) && !Inodes::default().is_older(7));
    }

    #[test]
    fn numbers_that_began_anew_are_newer() {
        let inodes = Inodes::of(&[u32::MAX - 5000, u32::MAX - 10]);
        assert!(inodes.is_older(u32::MAX - 10) && inodes.is_older(u32::MAX - 3000));
        assert!(!inodes.is_older(u32::MAX - 9) && !inodes.is_older(1));
    }

    #[test]
    fn a_socket_made_before_is_older_and_one_made_behind_is_not() {
        // Numbers given out while it looks are in doubt; a processor seldom goes on to its next batch just then.
        let told = (0..3).any(|_| {
            let before = number().unwrap();
            let inodes = Inodes::now();
            assert!(inodes.is_older(before));
            !inodes.is_older(number().unwrap())
        });
        assert!(told);
    }
}
