//! Memory: what the kernel says of maps and programs in `/proc/self/fdinfo` (`bpf_map_show_fdinfo` and
//! `bpf_prog_show_fdinfo` of `kernel/bpf/syscall.c`), and what is given back to it.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use aya::{
    maps::{Map, MapData},
    programs::Program,
};

/// Bytes the kernel charges for the map; 0 where it does not tell.
pub(super) fn map_bytes(map: &Map) -> u64 {
    let charged = |data: &MapData| number(data.fd().as_fd(), "memlock:");
    match map {
        Map::Array(data) | Map::HashMap(data) | Map::LruHashMap(data) | Map::PerCpuArray(data) => {
            charged(data)
        }
        // From 5.11 to 6.3 the kernel tells entries times the size of a value, and here the entries are the bytes.
        Map::RingBuf(data) => charged(data).max(number(data.fd().as_fd(), "max_entries:")),
        _ => 0,
    }
}

/// How often the kernel left a program out because it was running already; 0 before Linux 5.12, which does not tell, and for
/// one that is not loaded.
pub(super) fn missed_runs(program: &Program) -> u64 {
    program
        .fd()
        .map_or(0, |fd| number(fd.as_fd(), "recursion_misses:"))
}

/// Returns to the kernel what is free: reading its types takes tens of megabytes for a moment, and a burst of requests some
/// more, which the allocator would keep.
pub fn give_memory_back() {
    // SAFETY: it takes no pointer; where another allocator is in use it has nothing to collect.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

fn number(fd: BorrowedFd<'_>, name: &str) -> u64 {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    number_in(&fs::read_to_string(path).unwrap_or_default(), name)
}

fn number_in(fdinfo: &str, name: &str) -> u64 {
    fdinfo
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|bytes| bytes.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_fdinfo() {
        let fdinfo = "pos:\t0\nmap_type:\t27\nmemlock:\t8441856\nfrozen:\t0\n";
        assert_eq!(number_in(fdinfo, "memlock:"), 8_441_856);
        assert_eq!(number_in("pos:\t0\n", "recursion_misses:"), 0);
    }
}
