//! Whether bytes are Kafka.

use super::header::{self, Read};
use super::walk::{self, End};
use crate::protocol::{Opening, Verdict};

pub(super) fn detect(opening: &Opening<'_>) -> Verdict {
    if opening.datagram {
        return Verdict::Reject;
    }
    // A response is only a size and a number: nothing to recognise it by.
    if !opening.server.is_empty() && opening.server.len() >= 4 && !header::is_size_plausible(opening.server) {
        return Verdict::Reject;
    }
    if opening.client.is_empty() {
        Verdict::NeedMore
    } else {
        request(opening.client)
    }
}

pub(super) fn request(bytes: &[u8]) -> Verdict {
    let header = match header::read(bytes) {
        Read::NeedMore => return Verdict::NeedMore,
        Read::Broken => return Verdict::Reject,
        Read::Header(header) => header,
    };
    if !header.api.describes(header.version) {
        // Of another one there is nothing to recognise it by but its name: a size and zeros are not enough.
        return match header.client_id.is_empty() {
            true => Verdict::Reject,
            false => Verdict::Score(45),
        };
    }
    let is_whole = bytes.len() >= header.total_bytes;
    let body = &bytes[header.body_at..bytes.len().min(header.total_bytes)];
    let items = header.api.request;
    let (found, end) = walk::walk(
        body,
        items,
        header.version,
        header.api.is_flexible(header.version),
    );
    match end {
        End::Broken => Verdict::Reject,
        _ if items.is_empty() => Verdict::Score(if header.client_id.is_empty() { 40 } else { 70 }),
        // Nobody produces nothing; zeros do.
        End::Exact if header.api.name == "Produce" && found.topics == 0 && header.client_id.is_empty() => {
            Verdict::Reject
        }
        End::Exact if is_whole => Verdict::Score(if header.client_id.len() > 2 { 94 } else { 88 }),
        End::Exact => Verdict::NeedMore,
        // The bytes end within the body, or tags follow it.
        End::Inexact if body.is_empty() => Verdict::NeedMore,
        // No request without a name begins with so many zeros; greetings of RTMP and others are full of them.
        End::Inexact if header.client_id.is_empty() && body.starts_with(&[0; 10]) => Verdict::Reject,
        // A whole request that its description does not fit, and without a name: others begin with a size and zeros as well.
        End::Inexact if is_whole && header.client_id.is_empty() => Verdict::Reject,
        End::Inexact => Verdict::Score(if header.client_id.len() > 2 { 75 } else { 30 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_zookeeper_is_no_produce_request() {
        let connect = [
            &b"\0\0\0\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x75\x30\0\0\0\0\0\0\0\0\0\0\0\x10"[..],
            &[0; 17],
        ]
        .concat();
        assert_eq!(connect.len(), 49);
        assert_eq!(request(&connect), Verdict::Reject);
    }

    /// As between the processes of a browser: a size, and what would be the number of a version nobody knows.
    #[test]
    fn a_size_and_small_numbers_are_no_request_of_a_later_version() {
        let message = b"\0\0\0\x10\0\0\0\x63\0\0\0\x02\0\0\0\0\0\0\0\x01";
        assert_eq!(request(message), Verdict::Reject);
    }

    #[test]
    fn all_zeros_behind_a_size_are_no_produce_request() {
        let message = [&b"\0\0\0\x14"[..], &[0; 20]].concat();
        assert_eq!(request(&message), Verdict::Reject);
        let greeting = [&b"\x03"[..], &[0; 1536]].concat();
        assert_eq!(request(&greeting), Verdict::Reject);
    }
}
