//! HPACK's Huffman code (RFC 7541 appendix B).
//!
//! The code is canonical: symbols of one length have consecutive codes, in order of their value, so the lengths alone
//! define it. Codes of up to eight bits are found by one look into a table, longer ones length by length.

use std::sync::LazyLock;

/// Bits of each symbol's code; the last one is the end-of-string symbol.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const END_OF_STRING: u16 = 256;
const LONGEST_BITS: usize = 30;

struct Code {
    /// By the next eight bits: symbol and length, length 0 where the code is longer.
    short: [(u16, u8); 256],
    /// By length: the first code of that length, and where its symbol stands in `symbols`.
    first_code: [u32; LONGEST_BITS + 2],
    first_symbol: [u16; LONGEST_BITS + 2],
    /// All symbols, by length and value.
    symbols: Vec<u16>,
}

static CODE: LazyLock<Code> = LazyLock::new(Code::new);

impl Code {
    fn new() -> Self {
        let mut symbols: Vec<u16> = (0..=END_OF_STRING).collect();
        symbols.sort_by_key(|symbol| LENGTHS[usize::from(*symbol)]);
        let mut code = Self {
            short: [(0, 0); 256],
            first_code: [0; 32],
            first_symbol: [0; 32],
            symbols,
        };
        let (mut next_code, mut next_symbol) = (0u32, 0u16);
        for bits in 1..=LONGEST_BITS {
            next_code <<= 1;
            code.first_code[bits] = next_code;
            code.first_symbol[bits] = next_symbol;
            let count = LENGTHS
                .iter()
                .filter(|length| usize::from(**length) == bits)
                .count() as u16;
            for offset in 0..count {
                let symbol = code.symbols[usize::from(next_symbol + offset)];
                if bits <= 8 {
                    let from = (next_code + u32::from(offset)) << (8 - bits);
                    code.short[from as usize..][..1 << (8 - bits)].fill((symbol, bits as u8));
                }
            }
            next_code += u32::from(count);
            next_symbol += count;
        }
        code.first_code[LONGEST_BITS + 1] = u32::MAX;
        code.first_symbol[LONGEST_BITS + 1] = next_symbol;
        code
    }

    /// The symbol at the top of `window` (its first 32 bits are code or padding) and its length.
    fn symbol(&self, window: u32) -> Option<(u16, usize)> {
        let (symbol, bits) = self.short[(window >> 24) as usize];
        if bits > 0 {
            return Some((symbol, usize::from(bits)));
        }
        (9..=LONGEST_BITS).find_map(|bits| {
            let offset = (window >> (32 - bits)).checked_sub(self.first_code[bits])?;
            let count = u32::from(self.first_symbol[bits + 1] - self.first_symbol[bits]);
            let place = usize::from(self.first_symbol[bits]) + offset as usize;
            (offset < count).then(|| (self.symbols[place], bits))
        })
    }
}

/// Appends the decoded string to `text`; `None` where the bytes are no valid encoding. At most 8/5 of their number of
/// bytes are appended.
pub(super) fn decode(bytes: &[u8], text: &mut Vec<u8>) -> Option<()> {
    let code = &*CODE;
    text.reserve(bytes.len() * 8 / 5);
    // The top `held` bits of the window are the next ones of the string.
    let (mut window, mut held) = (0u64, 0usize);
    let mut rest = bytes.iter();
    loop {
        while held <= 56 {
            let Some(byte) = rest.next() else { break };
            window |= u64::from(*byte) << (56 - held);
            held += 8;
        }
        // Ones behind the end: what is left of it then reads as padding does.
        let padded = if held < 64 {
            window | (u64::MAX >> held)
        } else {
            window
        };
        if held < 8 && padded == u64::MAX {
            return Some(());
        }
        let (symbol, bits) = code.symbol((padded >> 32) as u32)?;
        if bits > held || symbol == END_OF_STRING {
            return None;
        }
        text.push(symbol as u8);
        window <<= bits;
        held -= bits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(hex: &str) -> Option<String> {
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        let mut text = Vec::new();
        decode(&bytes, &mut text)?;
        Some(String::from_utf8(text).unwrap())
    }

    /// RFC 7541 appendix C.4 and C.6.
    #[test]
    fn the_examples_of_the_rfc() {
        for (hex, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("6402", "302"),
            ("aec3771a4b", "private"),
            (
                "d07abe941054d444a8200595040b8166e082a62d1bff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            ("9d29ad171863c78f0b97c8e9ae82ae43d3", "https://www.example.com"),
            ("", ""),
        ] {
            assert_eq!(decoded(hex).as_deref(), Some(text));
        }
    }

    #[test]
    fn bad_padding_and_the_end_symbol_are_refused() {
        for hex in ["ff", "ffffffff", "f1e3c2e5f23a6ba0ab90f400", "00", "fffffffc"] {
            assert_eq!(decoded(hex), None, "{hex}");
        }
    }

    #[test]
    fn every_symbol_survives_encoding() {
        for symbol in 0..=255u16 {
            let place = CODE.symbols.iter().position(|other| *other == symbol).unwrap() as u32;
            let bits = usize::from(LENGTHS[usize::from(symbol)]);
            let code = CODE.first_code[bits] + place - u32::from(CODE.first_symbol[bits]);
            let window = (u64::from(code) << (64 - bits)) | (u64::MAX >> bits);
            let mut text = Vec::new();
            decode(&window.to_be_bytes()[..bits.div_ceil(8)], &mut text).unwrap();
            assert_eq!(text, [symbol as u8]);
        }
    }
}
