//! Start lines: telling them from other bytes, whole or not.

/// The methods of OpenTelemetry's `http.request.method`; any other is reported as `_OTHER`.
const KNOWN_METHODS: &[&str] = &[
    "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY",
];

/// The same as looking for it in the list, in fewer instructions.
pub(super) fn known_method(method: &[u8]) -> Option<&'static str> {
    Some(match method {
        b"GET" => "GET",
        b"POST" => "POST",
        b"PUT" => "PUT",
        b"DELETE" => "DELETE",
        b"HEAD" => "HEAD",
        b"OPTIONS" => "OPTIONS",
        b"PATCH" => "PATCH",
        b"CONNECT" => "CONNECT",
        b"TRACE" => "TRACE",
        b"QUERY" => "QUERY",
        _ => return None,
    })
}

const LONGEST_METHOD: usize = 24;

/// Whether some first bytes are a start line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Yes,
    No,
    Maybe,
}

/// Whether OpenTelemetry names this method as sent; any other is `_OTHER`.
pub fn is_known_method(method: &str) -> bool {
    known_method(method.as_bytes()).is_some()
}

fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte == b'-' || byte == b'_'
}

/// Whether these are the first bytes of a request. Methods are upper case, as all registered ones are; another is
/// believed in a whole line only.
pub(super) fn request_line(bytes: &[u8]) -> Line {
    if bytes.first().is_some_and(u8::is_ascii_lowercase) {
        return if is_odd_method_line(bytes) {
            Line::Yes
        } else {
            Line::No
        };
    }
    let blank = bytes
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    let bytes = &bytes[blank..];
    let method = bytes.iter().take_while(|byte| is_method_byte(**byte)).count();
    if method > LONGEST_METHOD || (method == 0 && (!bytes.is_empty() || blank > 4)) {
        return Line::No;
    }
    let Some((_, rest)) = split_at_space(bytes).filter(|(name, _)| name.len() == method) else {
        return if method == bytes.len() {
            Line::Maybe
        } else {
            Line::No
        };
    };
    let line = memchr::memchr(b'\n', rest).map_or(rest, |newline| &rest[..newline]);
    let Some((target, version)) = split_at_space(line) else {
        let open = line.len() == rest.len() && line.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
        return if open { Line::Maybe } else { Line::No };
    };
    if target.is_empty() {
        return if spaced(bytes).is_some() {
            Line::Yes
        } else {
            Line::No
        };
    }
    match begins(version, b"HTTP/1.", u8::is_ascii_digit) {
        // Not in a whole line: there may be spaces in its target.
        Line::No if line.len() < rest.len() && spaced(bytes).is_some() => Line::Yes,
        other => other,
    }
}

/// Whether a whole line asks in HTTP/1 with a method nobody registered, as `get`.
fn is_odd_method_line(bytes: &[u8]) -> bool {
    let line = memchr::memchr(b'\n', bytes).map(|newline| bytes[..newline].trim_ascii_end());
    let Some((method, target)) = line
        .and_then(|line| {
            line.strip_suffix(b" HTTP/1.1")
                .or(line.strip_suffix(b" HTTP/1.0"))
        })
        .and_then(split_at_space)
    else {
        return false;
    };
    let is_target = target.starts_with(b"/") && !target.contains(&b' ');
    is_target && method.len() <= LONGEST_METHOD && method.iter().all(u8::is_ascii_alphabetic)
}

/// A whole request line with spaces where there should be none, as some clients send it and servers still read or refuse.
struct Spaced<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: &'a [u8],
    /// Without its line end.
    length: usize,
}

fn spaced(bytes: &[u8]) -> Option<Spaced<'_>> {
    let line = &bytes[..memchr::memchr(b'\n', bytes)?];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (method, rest) = split_at_space(line)?;
    let trimmed = rest.trim_ascii();
    let (target, version) = trimmed.split_at(memchr::memrchr(b' ', trimmed)?);
    let (target, version) = (target.trim_ascii_end(), &version[1..]);
    let fits = begins_with_known_method(line) && matches!(version, b"HTTP/1.0" | b"HTTP/1.1");
    let is_regular = rest.len() == target.len() + 1 + version.len() && !target.contains(&b' ');
    (fits && !is_regular && !target.is_empty()).then_some(Spaced {
        method,
        target,
        version,
        length: line.len(),
    })
}

/// The head that begins with such a line with that written as it should be, and the length of the line there and here.
pub(super) fn without_spaces(bytes: &[u8]) -> Option<(Vec<u8>, [usize; 2])> {
    let line = spaced(bytes)?;
    let mut whole = Vec::with_capacity(bytes.len() + 16);
    whole.extend_from_slice(line.method);
    whole.push(b' ');
    for byte in line.target {
        match byte {
            b' ' => whole.extend_from_slice(b"%20"),
            other => whole.push(*other),
        }
    }
    whole.push(b' ');
    whole.extend_from_slice(line.version);
    let lengths = [whole.len(), line.length];
    whole.extend_from_slice(&bytes[line.length..]);
    Some((whole, lengths))
}

/// Whether these are the first bytes of a response.
pub(super) fn status_line(bytes: &[u8]) -> Line {
    if bytes.len() >= 9 && bytes[8] != b' ' {
        return Line::No;
    }
    match begins(bytes, b"HTTP/1.", u8::is_ascii_digit) {
        Line::Yes => match bytes.get(9..12) {
            Some(code) if code.iter().all(u8::is_ascii_digit) => Line::Yes,
            Some(_) => Line::No,
            None => Line::Maybe,
        },
        other => other,
    }
}

fn begins(bytes: &[u8], signature: &[u8], then: fn(&u8) -> bool) -> Line {
    let shared = bytes.len().min(signature.len());
    match bytes.get(signature.len()) {
        _ if bytes[..shared] != signature[..shared] => Line::No,
        None => Line::Maybe,
        Some(next) if then(next) => Line::Yes,
        Some(_) => Line::No,
    }
}

pub(super) fn begins_with_known_method(bytes: &[u8]) -> bool {
    split_at_space(bytes).is_some_and(|(method, _)| known_method(method).is_some())
}

/// Where the last known method and the space behind it stand in a line.
pub(super) fn last_known_method(line: &[u8]) -> Option<usize> {
    let find = |method: &&str| {
        memchr::memmem::rfind(line, method.as_bytes()).filter(|at| line.get(at + method.len()) == Some(&b' '))
    };
    KNOWN_METHODS.iter().filter_map(find).max()
}

pub(super) fn split_at_space(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr::memchr(b' ', bytes)?;
    Some((&bytes[..space], &bytes[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_and_the_look_at_it_agree() {
        assert!(
            KNOWN_METHODS
                .iter()
                .all(|method| known_method(method.as_bytes()) == Some(method))
        );
        assert!(
            !["", "get", "BREW", "GETS"]
                .iter()
                .any(|method| is_known_method(method))
        );
    }
}
