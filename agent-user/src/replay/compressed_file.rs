//! Compressed file: gzip and zstd are undone while a capture is read.
//!
//! Enters: the bytes of a file. Leaves: those of the capture in it. Bounded: by the decoders' windows (zstd: 128 MiB at most).
//! Deliberately absent: the capture's format.

use std::io::{Chain, Cursor, ErrorKind, Read, Result};

use flate2::read::MultiGzDecoder;
use zstd::stream::read::Decoder;

type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

/// A file as it is, or uncompressed.
pub(super) enum Uncompressed<R: Read> {
    Plain(Whole<R>),
    Gzip(Box<MultiGzDecoder<Whole<R>>>),
    Zstd(Box<Decoder<'static, std::io::BufReader<Whole<R>>>>),
}

impl<R: Read> Uncompressed<R> {
    /// # Errors
    /// Those of reading the first bytes.
    pub(super) fn open(mut file: R) -> Result<Self> {
        let mut magic = [0; 4];
        let length = read_up_to(&mut file, &mut magic)?;
        let whole = Cursor::new(magic[..length].to_vec()).chain(file);
        Ok(match magic {
            [0x1f, 0x8b, ..] => Self::Gzip(Box::new(MultiGzDecoder::new(whole))),
            [0x28, 0xb5, 0x2f, 0xfd] => Self::Zstd(Box::new(Decoder::new(whole)?)),
            _ => Self::Plain(whole),
        })
    }
}

impl<R: Read> Read for Uncompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = match self {
            Self::Plain(file) => file.read(buffer),
            Self::Gzip(file) => file.read(buffer),
            Self::Zstd(file) => file.read(buffer),
        };
        match read {
            // A compressed file that was cut off ends like one that was not: in the middle of a packet.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            read => read,
        }
    }
}

/// Fills `buffer` as far as the file goes.
pub(super) fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // What was read before counts; the error comes again.
            Err(_) if filled > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_was_compressed_comes_out_and_the_rest_as_it_is() {
        let plain = b"any bytes ".repeat(10_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let zstd = zstd::stream::encode_all(&plain[..], 1).unwrap();
        for file in [plain.clone(), gzip.finish().unwrap(), zstd] {
            let mut out = Vec::new();
            Uncompressed::open(&file[..])
                .unwrap()
                .read_to_end(&mut out)
                .unwrap();
            assert!(out == plain);
            let mut begun = Vec::new();
            Uncompressed::open(&file[..file.len() / 2])
                .unwrap()
                .read_to_end(&mut begun)
                .unwrap();
            assert!(plain.starts_with(&begun));
        }
    }
}
