//! What an ERR packet says: its code, and its message without values.

use compact_str::{CompactString, ToCompactString};

const TEXT_MAX_BYTES: usize = 240;

/// Errors whose message quotes only names.
const NAMES_ONLY: &[u16] = &[
    1008, 1040, 1043, 1044, 1045, 1046, 1047, 1048, 1049, 1050, 1051, 1052, 1054, 1060, 1061, 1064, 1068,
    1091, 1109, 1113, 1129, 1130, 1136, 1142, 1143, 1146, 1147, 1153, 1158, 1159, 1160, 1161, 1203, 1205,
    1213, 1216, 1217, 1226, 1227, 1243, 1264, 1290, 1305, 1317, 1364, 1406, 1451, 1452, 1467, 1552, 1690,
    1792, 1820, 1836, 3024, 3572, 4031,
];

/// Code and redacted message of an ERR packet's payload, however far it is visible.
pub(super) fn read(payload: &[u8]) -> (CompactString, CompactString) {
    let code = payload
        .get(1..3)
        .map_or(0, |code| u16::from_le_bytes([code[0], code[1]]));
    let message = payload.get(3..).unwrap_or_default();
    let message = if message.first() == Some(&b'#') {
        message.get(6..).unwrap_or_default()
    } else {
        message
    };
    let message = String::from_utf8_lossy(&message[..message.len().min(TEXT_MAX_BYTES)]);
    (code.to_compact_string(), redact(code, &message))
}

fn redact(code: u16, message: &str) -> CompactString {
    if code == 1064 {
        // A syntax error quotes the statement from where it is wrong.
        let end = message.find(" near '").unwrap_or(message.len());
        return CompactString::from(&message[..end]);
    }
    if NAMES_ONLY.contains(&code) {
        return CompactString::from(message);
    }
    let mut text = CompactString::default();
    for (number, part) in message.split('\'').enumerate() {
        if number > 0 {
            text.push('\'');
        }
        text.push_str(if number % 2 == 1 { "?" } else { part });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_hidden_and_names_are_not() {
        let (code, text) = read(b"\xff\x7a\x04#42S02Table 'shop.nope' doesn't exist");
        assert_eq!(
            (code.as_str(), text.as_str()),
            ("1146", "Table 'shop.nope' doesn't exist")
        );
        let (code, text) = read(b"\xff\x26\x04#23000Duplicate entry 'secret' for key 'PRIMARY'");
        assert_eq!(
            (code.as_str(), text.as_str()),
            ("1062", "Duplicate entry '?' for key '?'")
        );
        let (_, text) =
            read(b"\xff\x28\x04#42000You have an error in your SQL syntax near 'secret' at line 1");
        assert_eq!(text, "You have an error in your SQL syntax");
        assert_eq!(read(b"\xff").0, "0");
    }
}
