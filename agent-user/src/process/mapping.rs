//! Which files a process maps, and where.

/// First mapping of a file: where its first byte is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::process) struct Mapping {
    pub(in crate::process) start: u64,
    pub(in crate::process) path: String,
}

/// Mappings of files that begin with the file's first byte (proc(5), `maps`).
pub(in crate::process) fn mappings(maps: &str) -> Vec<Mapping> {
    let mapping = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (range, _, offset) = (fields.next()?, fields.next()?, fields.next()?);
        let at = line.find('/')?;
        let start = u64::from_str_radix(range.split('-').next()?, 16).ok()?;
        (u64::from_str_radix(offset, 16).ok()? == 0).then(|| Mapping {
            start,
            path: line[at..].to_owned(),
        })
    };
    maps.lines().filter_map(mapping).collect()
}
