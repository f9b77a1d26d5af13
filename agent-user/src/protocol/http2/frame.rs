//! Frames (RFC 9113 section 4 and 6): headers read and judged, padding and priority taken off.

/// What a frame is; the types this parser does anything about have their own variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    ResetStream,
    PushPromise,
    Continuation,
    /// Priority, settings, ping, go-away, window update, and types the RFC tells receivers to ignore.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) stream: u32,
    pub(super) end_stream: bool,
    pub(super) end_headers: bool,
    padded: bool,
    priority: bool,
    pub(super) payload_bytes: usize,
}

pub(super) const HEADER_BYTES: usize = 9;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The smallest limit a peer may set for a frame is also the one nearly all keep (section 6.5.2).
const USUAL_PAYLOAD_BYTES: usize = 16 << 10;

pub(super) const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

impl Frame {
    /// Reads a frame header; `None` where its type, flags, stream and length contradict each other. Of the types the
    /// RFC does not define everything is taken.
    pub(super) fn read(header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let [a, b, c, kind, flags, d, e, f, g] = *header;
        let payload_bytes = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let stream = u32::from_be_bytes([d & 0x7f, e, f, g]);
        let on_stream = stream != 0;
        let sound = match kind {
            0 | 1 | 9 => on_stream,
            2 => on_stream && payload_bytes == 5,
            3 => on_stream && payload_bytes == 4,
            4 => !on_stream && payload_bytes.is_multiple_of(6) && (flags & 1 == 0 || payload_bytes == 0),
            5 => on_stream && payload_bytes >= 4,
            6 => !on_stream && payload_bytes == 8,
            7 => !on_stream && payload_bytes >= 8,
            8 => payload_bytes == 4,
            _ => true,
        };
        let known = match kind {
            0 => Kind::Data,
            1 => Kind::Headers,
            3 => Kind::ResetStream,
            5 => Kind::PushPromise,
            9 => Kind::Continuation,
            _ => Kind::Other,
        };
        sound.then_some(Self {
            kind: known,
            stream,
            end_stream: kind <= 1 && flags & END_STREAM != 0,
            end_headers: flags & END_HEADERS != 0,
            padded: matches!(kind, 0 | 1 | 5) && flags & PADDED != 0,
            priority: kind == 1 && flags & PRIORITY != 0,
            payload_bytes,
        })
    }

    pub(super) fn whole_bytes(&self) -> usize {
        HEADER_BYTES + self.payload_bytes
    }

    /// The part of a HEADERS, PUSH_PROMISE or CONTINUATION payload that belongs to the header block, or the data of a
    /// DATA payload; `None` where padding does not fit.
    pub(super) fn content<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        let (padding, rest) = if self.padded {
            let (length, rest) = payload.split_first()?;
            (usize::from(*length), rest)
        } else {
            (0, payload)
        };
        let prefix = match self.kind {
            Kind::Headers if self.priority => 5,
            Kind::PushPromise => 4,
            _ => 0,
        };
        rest.get(prefix..rest.len().checked_sub(padding)?)
    }
}

/// How much bytes from an unknown place look like frames: the number of frame headers that follow each other soundly,
/// `None` where one does not. Only defined types with their defined flags and usual lengths count.
pub(super) fn chain(bytes: &[u8]) -> Option<usize> {
    let (mut rest, mut count) = (bytes, 0);
    while let Some(header) = rest.first_chunk::<HEADER_BYTES>() {
        let frame = Frame::read(header)?;
        let [_, _, _, kind, flags, reserved, ..] = *header;
        let defined: u8 = match kind {
            0 => END_STREAM | PADDED,
            1 => END_STREAM | END_HEADERS | PADDED | PRIORITY,
            4 | 6 => END_STREAM,
            5 => END_HEADERS | PADDED,
            9 => END_HEADERS,
            2 | 3 | 7 | 8 => 0,
            _ => return None,
        };
        if flags & !defined != 0 || reserved & 0x80 != 0 || frame.payload_bytes > USUAL_PAYLOAD_BYTES {
            return None;
        }
        count += 1;
        rest = rest.get(frame.whole_bytes()..).unwrap_or(b"");
    }
    // A rest shorter than a header is the beginning of one.
    Some(count)
}

/// The name of an error code (section 7).
pub(super) fn error_name(code: u32) -> &'static str {
    match code {
        0x0 => "NO_ERROR",
        0x1 => "PROTOCOL_ERROR",
        0x2 => "INTERNAL_ERROR",
        0x3 => "FLOW_CONTROL_ERROR",
        0x4 => "SETTINGS_TIMEOUT",
        0x5 => "STREAM_CLOSED",
        0x6 => "FRAME_SIZE_ERROR",
        0x7 => "REFUSED_STREAM",
        0x8 => "CANCEL",
        0x9 => "COMPRESSION_ERROR",
        0xa => "CONNECT_ERROR",
        0xb => "ENHANCE_YOUR_CALM",
        0xc => "INADEQUATE_SECURITY",
        0xd => "HTTP_1_1_REQUIRED",
        _ => "UNKNOWN_ERROR",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_and_priority_are_taken_off() {
        let frame = Frame::read(&[0, 0, 10, 1, 0x2d, 0, 0, 0, 1]).unwrap();
        assert!(frame.end_stream && frame.end_headers);
        assert_eq!(frame.content(&[2, 0, 0, 0, 0, 9, 7, 7, 0, 0]), Some(&[7, 7][..]));
        assert_eq!(frame.content(&[9, 0, 0, 0, 0, 9, 7, 7, 0, 0]), None);
        assert_eq!(frame.content(&[]), None);
    }

    #[test]
    fn contradicting_headers_are_refused() {
        for header in [
            [0, 0, 1, 0, 0, 0, 0, 0, 0],
            [0, 0, 7, 6, 0, 0, 0, 0, 0],
            [0, 0, 6, 4, 1, 0, 0, 0, 0],
        ] {
            assert_eq!(Frame::read(&header), None, "{header:?}");
        }
    }

    #[test]
    fn a_chain_is_told_from_text_and_zeros() {
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(chain(&settings), Some(2));
        assert_eq!(chain(b"GET / HTTP/1.1\r\n"), None);
        assert_eq!(chain(&[0; 64]), None);
    }
}
