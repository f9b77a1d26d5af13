//! Memory: what the kernel charges for a map, from `/proc/self/fdinfo` (`memlock`, `Documentation/bpf/maps.rst`).

use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
};

use aya::maps::{Map, MapData};

/// Bytes the kernel charges for the map; 0 where it does not tell.
pub(super) fn map_bytes(map: &Map) -> u64 {
    let data: &MapData = match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::RingBuf(data) => data,
        _ => return 0,
    };
    let path = format!("/proc/self/fdinfo/{}", data.fd().as_fd().as_raw_fd());
    memlock(&fs::read_to_string(path).unwrap_or_default())
}

fn memlock(fdinfo: &str) -> u64 {
    fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("memlock:"))
        .and_then(|bytes| bytes.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_charge_is_read_from_fdinfo() {
        assert_eq!(
            memlock("pos:\t0\nmap_type:\t27\nmemlock:\t8441856\nfrozen:\t0\n"),
            8_441_856
        );
        assert_eq!(memlock("pos:\t0\n"), 0);
    }
}
