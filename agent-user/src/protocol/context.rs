//! Trace headers: what applications and proxies already pass along, read into a [`PropagatedContext`].
//!
//! Enters: header names and values of any protocol that has headers (HTTP, gRPC, AMQP, Kafka, NATS). Leaves: the ids of
//! the most trustworthy format present. Bounded: one fixed-size value. Deliberately absent: baggage and trace state,
//! which no rung of the link ladder needs.
//!
//! Formats: W3C Trace Context, B3 (single and multi), Jaeger, SkyWalking 8, AWS X-Ray, Google Cloud, Datadog, and the
//! request ids proxies add.

use compact_str::CompactString;

use super::PropagatedContext;
use super::reader::lossy_text;

/// A request id longer than this is not one.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Formats by how much they are trusted when a message carries several: a higher one wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    #[default]
    None,
    Datadog,
    Google,
    Amazon,
    SkyWalking,
    Jaeger,
    B3,
    W3c,
}

/// Collects trace headers while a parser walks over a message's headers.
#[derive(Debug, Default)]
pub struct ContextReader {
    rank: Rank,
    found: PropagatedContext,
}

impl ContextReader {
    /// Looks at one header. Names are compared without regard to case; anything that is no trace header is ignored.
    #[inline]
    pub fn see(&mut self, name: &[u8], value: &[u8]) {
        if name.len() >= 2 && Self::wants(name[0] | 0x20) {
            self.read(name, value);
        }
    }

    /// Whether the name of a trace header begins with this letter, in lower case. None is shorter than two bytes.
    #[inline]
    pub fn wants(letter: u8) -> bool {
        matches!(letter, b't' | b'b' | b'x' | b'u' | b's' | b'r' | b'c')
    }

    /// `None` where no trace header was seen.
    pub fn finish(self) -> Option<Box<PropagatedContext>> {
        let found = self.found;
        let some = found.trace_id != 0 || !found.request_id.is_empty();
        some.then(|| Box::new(found))
    }

    fn read(&mut self, name: &[u8], value: &[u8]) {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let value = value.trim_ascii();
        match name.len() {
            2 if is("b3") => self.whole(Rank::B3, b3(value)),
            3 if is("sw8") => self.whole(Rank::SkyWalking, sw8(value)),
            10 if is("request-id") => self.request_id(value),
            11 if is("traceparent") => self.whole(Rank::W3c, traceparent(value)),
            11 if is("x-b3-spanid") => self.part(Rank::B3, hex64(value), |found, id| found.span_id = id),
            12 if is("x-b3-traceid") => self.part(Rank::B3, hex128(value), |found, id| found.trace_id = id),
            12 if is("x-b3-sampled") => {
                self.part(Rank::B3, b3_flag(value), |found, flag| found.sampled = Some(flag));
            }
            12 if is("x-request-id") => self.request_id(value),
            13 if is("uber-trace-id") => self.whole(Rank::Jaeger, jaeger(value)),
            14 if is("correlation-id") => self.request_id(value),
            15 if is("x-amzn-trace-id") => self.whole(Rank::Amazon, amazon(value)),
            16 if is("x-correlation-id") => self.request_id(value),
            18 if is("x-datadog-trace-id") => {
                self.part(Rank::Datadog, decimal(value), |found, id| {
                    found.trace_id = u128::from(id)
                });
            }
            19 if is("x-datadog-parent-id") => {
                self.part(Rank::Datadog, decimal(value), |found, id| found.span_id = id);
            }
            21 if is("x-cloud-trace-context") => self.whole(Rank::Google, google(value)),
            _ => {}
        }
    }

    fn whole(&mut self, rank: Rank, context: Option<PropagatedContext>) {
        if let (Some(context), true) = (context, rank > self.rank) {
            self.rank = rank;
            self.found = PropagatedContext {
                request_id: std::mem::take(&mut self.found.request_id),
                ..context
            };
        }
    }

    /// One of several headers of a format; `None` where its value is no good.
    fn part<T>(&mut self, rank: Rank, value: Option<T>, set: impl FnOnce(&mut PropagatedContext, T)) {
        let Some(value) = value.filter(|_| rank >= self.rank) else {
            return;
        };
        if rank > self.rank {
            self.whole(rank, Some(PropagatedContext::default()));
        }
        set(&mut self.found, value);
    }

    fn request_id(&mut self, value: &[u8]) {
        let printable = value.iter().all(|byte| byte.is_ascii_graphic());
        if self.found.request_id.is_empty() && printable && (8..=MAX_REQUEST_ID_BYTES).contains(&value.len())
        {
            self.found.request_id = lossy_text(value);
        }
    }
}

/// W3C Trace Context: `00-<32 hex>-<16 hex>-<2 hex>`; later versions may append fields.
fn traceparent(value: &[u8]) -> Option<PropagatedContext> {
    let shape = value.len() >= 55 && value[2] == b'-' && value[35] == b'-' && value[52] == b'-';
    if !shape
        || value[..2].eq_ignore_ascii_case(b"ff")
        || (value.len() > 55 && (value.starts_with(b"00") || value[55] != b'-'))
    {
        return None;
    }
    let flags = hex64(&value[53..55])?;
    hex64(&value[..2])?;
    ids(
        hex128(&value[3..35])?,
        hex64(&value[36..52])?,
        Some(flags & 1 == 1),
    )
}

/// B3 single header: `{trace}-{span}[-{sampled}[-{parent}]]`. A lone sampling state carries no ids.
fn b3(value: &[u8]) -> Option<PropagatedContext> {
    let mut fields = value.split(|byte| *byte == b'-');
    let (trace, span) = (hex128(fields.next()?)?, hex64(fields.next()?)?);
    ids(trace, span, fields.next().and_then(b3_flag))
}

fn b3_flag(value: &[u8]) -> Option<bool> {
    match value {
        b"1" | b"d" | b"true" => Some(true),
        b"0" | b"false" => Some(false),
        _ => None,
    }
}

/// Jaeger: `{trace}:{span}:{parent}:{flags}`, hexadecimal without leading zeros, the colons possibly percent-encoded.
fn jaeger(value: &[u8]) -> Option<PropagatedContext> {
    let text = std::str::from_utf8(value).ok()?;
    let plain = if text.contains('%') {
        text.replace("%3A", ":").replace("%3a", ":")
    } else {
        text.to_owned()
    };
    let mut fields = plain.split(':');
    let (trace, span) = (
        hex128(fields.next()?.as_bytes())?,
        hex64(fields.next()?.as_bytes())?,
    );
    let _parent = fields.next()?;
    let flags = hex64(fields.next()?.as_bytes())?;
    ids(trace, span, Some(flags & 1 == 1))
}

/// SkyWalking 8: `{sample}-{base64 trace}-{base64 segment}-{span}-...`. Its ids are free text, so they are hashed; both
/// ends of a call hash the same header.
fn sw8(value: &[u8]) -> Option<PropagatedContext> {
    let mut fields = value.split(|byte| *byte == b'-');
    let sampled = match fields.next()? {
        b"1" => true,
        b"0" => false,
        _ => return None,
    };
    let (trace, segment, span) = (fields.next()?, fields.next()?, fields.next()?);
    if trace.is_empty() || segment.is_empty() || decimal(span).is_none() {
        return None;
    }
    let span_id = fnv1a(fnv1a(FNV_OFFSET, segment), span);
    ids(
        fnv1a(FNV_OFFSET, trace),
        (span_id ^ (span_id >> 64)) as u64,
        Some(sampled),
    )
}

/// AWS X-Ray: `Root=1-{8 hex}-{24 hex};Parent={16 hex};Sampled=1`, fields in any order.
fn amazon(value: &[u8]) -> Option<PropagatedContext> {
    let (mut trace, mut span, mut sampled) = (None, 0, None);
    for field in value.split(|byte| *byte == b';') {
        let field = field.trim_ascii();
        if let Some(root) = field.strip_prefix(b"Root=1-") {
            if root.len() != 33 || root[8] != b'-' {
                return None;
            }
            trace = Some((u128::from(hex64(&root[..8])?) << 96) | hex128(&root[9..])?);
        } else if let Some(parent) = field.strip_prefix(b"Parent=") {
            span = hex64(parent)?;
        } else if let Some(flag) = field.strip_prefix(b"Sampled=") {
            sampled = b3_flag(flag);
        }
    }
    ids(trace?, span, sampled)
}

/// Google Cloud: `{32 hex}/{decimal span};o={flag}`.
fn google(value: &[u8]) -> Option<PropagatedContext> {
    let (trace, rest) = split_once(value, b'/')?;
    let (span, options) = split_once(rest, b';').unwrap_or((rest, b""));
    ids(
        hex128(trace)?,
        decimal(span)?,
        options.strip_prefix(b"o=").and_then(b3_flag),
    )
}

fn ids(trace_id: u128, span_id: u64, sampled: Option<bool>) -> Option<PropagatedContext> {
    (trace_id != 0).then(|| PropagatedContext {
        trace_id,
        span_id,
        sampled,
        request_id: CompactString::default(),
    })
}

fn split_once(value: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = memchr::memchr(at, value)?;
    Some((&value[..place], &value[place + 1..]))
}

fn hex64(digits: &[u8]) -> Option<u64> {
    if digits.len() > 16 {
        None
    } else {
        Some(hex128(digits)? as u64)
    }
}

fn hex128(digits: &[u8]) -> Option<u128> {
    if digits.is_empty() || digits.len() > 32 {
        return None;
    }
    digits.iter().try_fold(0u128, |sum, digit| {
        Some((sum << 4) | u128::from(char::from(*digit).to_digit(16)?))
    })
}

fn decimal(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

const FNV_OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;

/// Fowler-Noll-Vo 1a, 128 bits: short, stable across hosts and versions, which is all that is asked of it.
fn fnv1a(seed: u128, bytes: &[u8]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes
        .iter()
        .fold(seed, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Option<PropagatedContext> {
        let mut reader = ContextReader::default();
        headers
            .iter()
            .for_each(|(name, value)| reader.see(name.as_bytes(), value.as_bytes()));
        reader.finish().map(|found| *found)
    }

    const W3C: (&str, &str) = (
        "Traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    );

    #[test]
    fn w3c_is_read_and_wins_over_others_in_any_order() {
        let b3 = ("b3", "463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-0");
        for headers in [[W3C, b3], [b3, W3C]] {
            let found = read(&headers).unwrap();
            assert_eq!(found.trace_id, 0x0af7651916cd43dd8448eb211c80319c);
            assert_eq!((found.span_id, found.sampled), (0xb7ad6b7169203331, Some(true)));
        }
    }

    #[test]
    fn malformed_headers_say_nothing() {
        for (name, value) in [
            (
                "traceparent",
                "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            ),
            (
                "traceparent",
                "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
            (
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            ),
            (
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
            ),
            ("b3", "0"),
            ("b3", "zz-1"),
            ("uber-trace-id", "1:2"),
            ("sw8", "1-a"),
            ("x-amzn-trace-id", "Root=1-5759e988"),
            ("x-cloud-trace-context", "abc"),
            ("x-request-id", "short"),
            ("x-request-id", "white space is no id"),
            ("", ""),
        ] {
            assert_eq!(read(&[(name, value)]), None, "{name}: {value}");
        }
    }

    #[test]
    fn every_format_is_read() {
        let b3 = read(&[
            ("X-B3-TraceId", "463ac35c9f6413ad"),
            ("x-b3-spanid", "a2fb4a1d1a96d312"),
            ("X-B3-Sampled", "1"),
        ]);
        assert_eq!(
            b3.map(|c| (c.trace_id, c.span_id, c.sampled)),
            Some((0x463ac35c9f6413ad, 0xa2fb4a1d1a96d312, Some(true)))
        );
        let jaeger = read(&[("uber-trace-id", "3a%3A1b%3A0%3A1")]).unwrap();
        assert_eq!(
            (jaeger.trace_id, jaeger.span_id, jaeger.sampled),
            (0x3a, 0x1b, Some(true))
        );
        let amazon = read(&[(
            "X-Amzn-Trace-Id",
            "Self=x;Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
        )])
        .unwrap();
        assert_eq!(
            (amazon.trace_id, amazon.span_id),
            (0x5759e988bd862e3fe1be46a994272793, 0x53995c3f42cd8ad8)
        );
        let google = read(&[(
            "X-Cloud-Trace-Context",
            "105445aa7843bc8bf206b12000100000/123;o=1",
        )])
        .unwrap();
        assert_eq!((google.span_id, google.sampled), (123, Some(true)));
        let datadog = read(&[("x-datadog-trace-id", "77"), ("x-datadog-parent-id", "99")]).unwrap();
        assert_eq!((datadog.trace_id, datadog.span_id), (77, 99));
        let sw8 = ("sw8", "1-TRACEID-SEGMENT-3-PARENT-INSTANCE-ENDPOINT-ADDR");
        assert_eq!(read(&[sw8]), read(&[sw8]));
        assert_ne!(
            read(&[sw8]).unwrap().span_id,
            read(&[("sw8", "1-TRACEID-SEGMENT-4-a-b-c-d")]).unwrap().span_id
        );
    }

    #[test]
    fn a_request_id_stays_beside_any_format() {
        for headers in [
            [("X-Request-ID", "0123456789abcdef"), W3C],
            [W3C, ("x-request-id", "0123456789abcdef")],
        ] {
            let found = read(&headers).unwrap();
            assert!(found.trace_id != 0 && found.request_id == "0123456789abcdef");
        }
    }

    #[test]
    fn the_formats_several_tools_write_for_one_trace_are_the_same_trace() {
        let (trace, span) = (0x463ac35c9f6413ad48485a3953bb6124_u128, 0xa2fb4a1d1a96d312_u64);
        let formats: [&[(&str, &str)]; 4] = [
            &[(
                "traceparent",
                "00-463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-01",
            )],
            &[(
                "b3",
                "463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-1-05e3ac9a4f6e3b90",
            )],
            &[
                ("X-B3-TraceId", "463ac35c9f6413ad48485a3953bb6124"),
                ("X-B3-SpanId", "a2fb4a1d1a96d312"),
                ("X-B3-ParentSpanId", "05e3ac9a4f6e3b90"),
            ],
            &[(
                "uber-trace-id",
                "463ac35c9f6413ad48485a3953bb6124:a2fb4a1d1a96d312:0:1",
            )],
        ];
        for headers in formats {
            let found = read(headers).unwrap();
            assert_eq!((found.trace_id, found.span_id), (trace, span), "{headers:?}");
        }
        // Trace state says nothing by itself, and takes nothing away.
        assert_eq!(read(&[("tracestate", "rojo=00f067aa0ba902b7")]), None);
        assert_eq!(read(&[W3C, ("tracestate", "a=b")]), read(&[W3C]));
    }

    #[test]
    fn the_family_of_request_ids_is_read() {
        for name in ["X-Request-ID", "request-id", "x-correlation-id", "Correlation-Id"] {
            let found = read(&[(name, "0123456789abcdef")]).unwrap();
            assert_eq!(
                (found.trace_id, found.request_id.as_str()),
                (0, "0123456789abcdef"),
                "{name}"
            );
        }
    }

    proptest::proptest! {
        /// Whatever a client sends: no panic, and nothing kept that is longer than an id may be.
        #[test]
        fn hostile_headers_stay_bounded(
            values in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..400), 1..6),
            names in proptest::collection::vec(0..10_usize, 6),
        ) {
            const NAMES: [&str; 10] = ["traceparent", "b3", "x-b3-traceid", "x-b3-spanid", "uber-trace-id", "sw8",
                "x-amzn-trace-id", "x-request-id", "x-cloud-trace-context", "x-datadog-trace-id"];
            let mut reader = ContextReader::default();
            for (value, name) in values.iter().zip(names) {
                reader.see(NAMES[name].as_bytes(), value);
            }
            if let Some(found) = reader.finish() {
                proptest::prop_assert!(found.request_id.len() <= MAX_REQUEST_ID_BYTES);
            }
        }
    }
}
