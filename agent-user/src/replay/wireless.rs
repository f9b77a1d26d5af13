//! Wireless: what lies between an 802.11 capture and the LLC header of a data frame.
//!
//! Enters: a link type of the 802.11 family and the bytes of a packet. Leaves: the bytes from the LLC header on, or nothing
//! for management, control, empty and encrypted frames. Bounded: one frame. Deliberately absent: decryption, aggregated
//! frames (A-MSDU), which hold a header of their own in front.

/// The LLC header inside a frame of this link type (IEEE 802.11, section 9.2).
pub(super) fn llc(link_type: i32, bytes: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| bytes.get(at..)?.first_chunk().copied();
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?)));
    // Radiotap, PPI, Prism and AVS put what the radio said in front, with its length.
    let header_bytes = match link_type {
        105 => 0,
        127 | 192 => half(2)?,
        // Prism's header may hold AVS's instead, which says so.
        119 | 163 if word(0)? == [0x80, 0x21, 0x10, 1] || word(0)? == [0x80, 0x21, 0x10, 2] => {
            u32::from_be_bytes(word(4)?) as usize
        }
        119 => u32::from_le_bytes(word(4)?) as usize,
        _ => return None,
    };
    data_frame(bytes.get(header_bytes..)?)
}

fn data_frame(frame: &[u8]) -> Option<&[u8]> {
    let [control, flags] = *frame.first_chunk()?;
    let (kind, subtype) = (control & 0x0c, control >> 4);
    let (is_protected, has_order) = (flags & 0x40 != 0, flags & 0x80 != 0);
    // Data frames; those of the "null" subtypes hold none.
    if kind != 8 || control & 3 != 0 || subtype & 4 != 0 || is_protected {
        return None;
    }
    let is_quality_of_service = subtype & 8 != 0;
    let between_access_points = flags & 3 == 3;
    let header_bytes = 24
        + if between_access_points { 6 } else { 0 }
        + if is_quality_of_service { 2 } else { 0 }
        + if is_quality_of_service && has_order { 4 } else { 0 };
    frame
        .get(header_bytes..)
        // Some drivers pad the header to words.
        .map(|body| match body {
            [_, _, 0xaa, 0xaa, 3, ..] => &body[2..],
            _ => body,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLC: &[u8] = &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0];

    #[test]
    fn data_frames_of_every_kind_and_no_others() {
        let frame =
            |control: u8, flags: u8, rest: usize| [&[control, flags], &vec![0; rest][..], LLC].concat();
        let plain = frame(0x08, 0x02, 22);
        let header = |head: &[u8]| [head, &plain].concat();
        let cases = [
            (105, plain.clone()),
            (105, frame(0x08, 0x03, 28)),
            (105, frame(0x88, 0x01, 24)),
            (105, frame(0x88, 0x81, 28)),
            (105, frame(0x88, 0x01, 26)),
            (127, header(&[0, 0, 8, 0, 0, 0, 0, 0])),
            (192, header(&[0, 0, 8, 0, 105, 0, 0, 0])),
            (
                119,
                header(&[&[0x44, 0, 0, 0, 144, 0, 0, 0][..], &[0; 136]].concat()),
            ),
            (
                163,
                header(&[&[0x80, 0x21, 0x10, 1, 0, 0, 0, 64][..], &[0; 56]].concat()),
            ),
        ];
        for (link_type, bytes) in cases {
            assert_eq!(llc(link_type, &bytes), Some(LLC), "{link_type}: {bytes:02x?}");
            for cut in 0..bytes.len() {
                llc(link_type, &bytes[..cut]);
            }
        }
        for other in [
            frame(0x80, 0, 22),
            frame(0xb4, 0, 22),
            frame(0x48, 0, 22),
            frame(0x08, 0x42, 22),
        ] {
            assert_eq!(llc(105, &other), None, "{other:02x?}");
        }
    }
}
