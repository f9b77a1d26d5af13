//! RFC 7541 appendix C, and what the RFC does not know: missed blocks.

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn decode(decoder: &mut Decoder, hex: &str) -> Result<Vec<String>, Malformed> {
    let mut fields = Vec::new();
    let text =
        |text: Option<&[u8]>| text.map_or("?".into(), |text| String::from_utf8_lossy(text).into_owned());
    decoder.decode(&bytes(hex), |field| {
        fields.push(format!("{}={}", text(field.name), text(field.value)))
    })?;
    Ok(fields)
}

fn table(decoder: &Decoder) -> Vec<String> {
    let text = |text: Option<&[u8]>| String::from_utf8_lossy(text.unwrap_or(b"?")).into_owned();
    decoder
        .table
        .iter()
        .map(|entry| format!("{}={}", text(entry.field().name), text(entry.field().value)))
        .collect()
}

const FIRST: [&str; 4] = [
    ":method=GET",
    ":scheme=http",
    ":path=/",
    ":authority=www.example.com",
];

/// C.3: requests without Huffman coding. C.4: the same with it.
#[test]
fn requests_of_the_rfc() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for blocks in [plain, coded] {
        let mut decoder = Decoder::default();
        assert_eq!(decode(&mut decoder, blocks[0]).unwrap(), FIRST);
        let second = [&FIRST[..], &["cache-control=no-cache"]].concat();
        assert_eq!(decode(&mut decoder, blocks[1]).unwrap(), second);
        let third = decode(&mut decoder, blocks[2]).unwrap();
        assert_eq!(
            third[3..],
            [":authority=www.example.com", "custom-key=custom-value"]
        );
        assert_eq!(
            table(&decoder),
            [
                "custom-key=custom-value",
                "cache-control=no-cache",
                ":authority=www.example.com"
            ]
        );
        assert_eq!(decoder.table_bytes, 164);
    }
}

/// C.6: responses in a table of 256 bytes, with eviction.
#[test]
fn responses_of_the_rfc_with_eviction() {
    let mut decoder = Decoder {
        max_bytes: 256,
        ..Decoder::default()
    };
    let first = "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e
        919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
    let date = "date=Mon, 21 Oct 2013 20:13:21 GMT";
    let location = "location=https://www.example.com";
    assert_eq!(
        decode(&mut decoder, first).unwrap(),
        [":status=302", "cache-control=private", date, location]
    );
    assert_eq!(decoder.table_bytes, 222);
    let second = decode(&mut decoder, "4883 640e ffc1 c0bf").unwrap();
    assert_eq!(second, [":status=307", "cache-control=private", date, location]);
    assert_eq!(decoder.table_bytes, 222);
    let third = "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7
        821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07";
    assert_eq!(decode(&mut decoder, third).unwrap().len(), 6);
    assert_eq!(decoder.table_bytes, 215);
    assert_eq!(table(&decoder).len(), 3);
}

/// C.2.2 to C.2.4: not indexed, never indexed, indexed.
#[test]
fn other_representations() {
    let mut decoder = Decoder::default();
    assert_eq!(
        decode(&mut decoder, "040c 2f73 616d 706c 652f 7061 7468").unwrap(),
        [":path=/sample/path"]
    );
    assert_eq!(
        decode(&mut decoder, "1008 7061 7373 776f 7264 0673 6563 7265 74").unwrap(),
        ["password=secret"]
    );
    assert_eq!(decode(&mut decoder, "82").unwrap(), [":method=GET"]);
    assert!(decoder.table.is_empty());
}

#[test]
fn after_missed_blocks_only_what_is_new_is_known() {
    let mut decoder = Decoder::default();
    decoder.lose();
    // Index 62 was added by a block not seen; then an entry of that name, then one of our own.
    assert_eq!(decode(&mut decoder, "82 be").unwrap(), [":method=GET", "?=?"]);
    assert_eq!(decode(&mut decoder, "7e 0161").unwrap(), ["?=a"]);
    assert_eq!(decode(&mut decoder, "40 016b 0176").unwrap(), ["k=v"]);
    assert_eq!(decode(&mut decoder, "be bf c0").unwrap(), ["k=v", "?=a", "?=?"]);
    decoder.lose();
    assert_eq!(decode(&mut decoder, "be").unwrap(), ["?=?"]);
}

#[test]
fn broken_blocks_are_refused() {
    for hex in [
        "80",
        "be",
        "40",
        "4001",
        "7f",
        "ffffffffffff",
        "ff8080808080",
        "0085",
        "00ffffffffff7f",
        "0081ff",
    ] {
        assert_eq!(decode(&mut Decoder::default(), hex), Err(Malformed), "{hex}");
    }
}

#[test]
fn a_table_of_any_agreed_size_stays_bounded() {
    let mut decoder = Decoder::default();
    decode(&mut decoder, "3fffffffff07").unwrap();
    for _ in 0..3000 {
        decode(&mut decoder, "40 016b 0a61616161616161616161").unwrap();
    }
    assert!(decoder.table_bytes <= MAX_TABLE_BYTES);
    // What was thrown out is unknown, not malformed.
    assert_eq!(decode(&mut decoder, "ffff7f").unwrap(), ["?=?"]);
}
