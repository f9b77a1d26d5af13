//! Go programs: which version built them, and where their runtime keeps a goroutine's id.
//!
//! Enters: an executable. Leaves: offsets into `runtime.g`, for versions whose layout was read from real builds. Bounded:
//! reads the section table and one small section. Deliberately absent: guesses; for a version not in the table the
//! goroutine rung stays off.

mod names;

use std::fs::File;
use std::path::Path;

use object::read::{ReadCache, ReadRef};
use object::{Object, ObjectSection, ObjectSymbol};

use super::elf::file_offset;
use names::FunctionNames;

/// Where a goroutine's id is, in bytes from the start of `runtime.g` on a 64-bit machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoLayout {
    pub goroutine_offset: u32,
    pub parent_goroutine_offset: u32,
}

/// Minor versions of Go 1 and their layout, read from the DWARF of programs built with 1.21.13, 1.22.10, 1.23.9,
/// 1.24.11, 1.25.5, 1.26.6 and 1.27.3. `parentGoid` exists since 1.21.
const LAYOUTS: [(u32, GoLayout); 7] = [
    (
        21,
        GoLayout {
            goroutine_offset: 152,
            parent_goroutine_offset: 272,
        },
    ),
    (
        22,
        GoLayout {
            goroutine_offset: 152,
            parent_goroutine_offset: 272,
        },
    ),
    (
        23,
        GoLayout {
            goroutine_offset: 160,
            parent_goroutine_offset: 280,
        },
    ),
    (
        24,
        GoLayout {
            goroutine_offset: 160,
            parent_goroutine_offset: 280,
        },
    ),
    (
        25,
        GoLayout {
            goroutine_offset: 152,
            parent_goroutine_offset: 272,
        },
    ),
    (
        26,
        GoLayout {
            goroutine_offset: 152,
            parent_goroutine_offset: 280,
        },
    ),
    (
        27,
        GoLayout {
            goroutine_offset: 152,
            parent_goroutine_offset: 280,
        },
    ),
];

/// `debug/buildinfo`: the magic, then pointer size, flags; strings inline from byte 32 on where flag 2 is set (Go 1.18).
const MAGIC: &[u8] = b"\xff Go buildinf:";
const FLAG_INLINE: u8 = 2;
const STRINGS_AT: usize = 32;
const VERSION_MAX_BYTES: usize = 64;

/// The version of Go a program was built with ("go1.27.3"); `None` for anything else.
pub(super) fn version(executable: &Path) -> Option<String> {
    let file = File::open(executable).ok()?;
    let cache = ReadCache::new(file);
    // Interpreters and libraries by the dozen are no Go programs: leave before parsing more than the header.
    let object = object::File::parse(&cache).ok()?;
    let section = object.section_by_name(".go.buildinfo")?;
    let (offset, size) = section.file_range()?;
    let wanted = size.min((STRINGS_AT + 2 + VERSION_MAX_BYTES) as u64);
    let bytes = (&cache).read_bytes_at(offset, wanted).ok()?;
    inline_version(bytes)
}

/// Functions that tell which goroutine a request belongs to, as offsets in the executable's file; `None` where the program
/// has no such part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoFunctions {
    /// `net/http.(*persistConn).roundTrip`, `net/http.persistConnWriter.Write`
    pub http_client: Option<[u64; 2]>,
    /// `google.golang.org/grpc/internal/transport.(*headerFrame).isTransportResponseFrame`
    pub grpc_client: Option<u64>,
    /// `google.golang.org/grpc/internal/transport.(*http2Server).HandleStreams`, `google.golang.org/grpc.(*Server).handleStream`
    pub grpc_server: Option<[u64; 2]>,
    /// Another one is there and does not begin as it is known to.
    pub has_unknown: bool,
}

impl GoFunctions {
    /// Whether there is anything to see.
    pub fn has_any(&self) -> bool {
        self.http_client.is_some() || self.grpc_client.is_some() || self.grpc_server.is_some()
    }
}

const NAMES: [&str; 6] = [
    "net/http.(*persistConn).roundTrip",
    "net/http.persistConnWriter.Write",
    "google.golang.org/grpc/internal/transport.(*http2Client).NewStream",
    "google.golang.org/grpc/internal/transport.(*headerFrame).isTransportResponseFrame",
    "google.golang.org/grpc/internal/transport.(*http2Server).HandleStreams",
    "google.golang.org/grpc.(*Server).handleStream",
];

/// By the names in the executable's symbol table, or where it was stripped by those the runtime keeps.
pub(super) fn functions(executable: &Path) -> Option<GoFunctions> {
    let file = File::open(executable).ok()?;
    let cache = ReadCache::new(file);
    let object = object::File::parse(&cache).ok()?;
    let addresses = match object.symbols().next() {
        Some(_) => by_symbols(&object),
        None => by_runtime(&object)?,
    };
    Some(recognised(&object, addresses))
}

/// Those that begin as they are known to. A probe anywhere else would break the program.
fn recognised<'data>(object: &impl Object<'data>, addresses: [Option<u64>; NAMES.len()]) -> GoFunctions {
    let text = object.section_by_name(".text");
    let mut has_unknown = false;
    let mut place = |address: u64, probed: fn(&[u8; HEAD_BYTES]) -> Option<u64>| {
        let code = text
            .as_ref()
            .and_then(|text| text.data_range(address, HEAD_BYTES as u64).ok()?);
        let inside = code.and_then(|code| probed(code.try_into().ok()?));
        has_unknown |= inside.is_none();
        Some(file_offset(object, address)? + inside?)
    };
    let [
        round_trip,
        connection_write,
        new_stream,
        header_frame,
        handle_streams,
        handle_stream,
    ] = addresses;
    let mut both = |first: Option<u64>, second: Option<u64>| {
        let (first, second) = first.zip(second)?;
        Some([place(first, behind_check)?, place(second, behind_check)?])
    };
    let http_client = both(round_trip, connection_write);
    let grpc_server = both(handle_streams, handle_stream);
    // A server has the function, too.
    let grpc_client = new_stream
        .and(header_frame)
        .and_then(|address| place(address, behind_load));
    GoFunctions {
        http_client,
        grpc_client,
        grpc_server,
        has_unknown,
    }
}

/// Bytes of a function that are looked at.
const HEAD_BYTES: usize = 24;

// Probes are set at the first instruction that the kernel carries out by itself (`arch/x86/kernel/uprobes.c`,
// `branch_setup_xol_ops` and `push_setup_xol_ops`). Others are stepped over, which takes a second exception, and in a virtual
// machine that one leaves the guest. No argument has been touched by then.

/// In a function that looks first whether its stack is large enough (`cmd/internal/obj/x86`, `stacksplit`): with
/// `cmp rsp, [r14+16]`, or with `lea r12, [rsp-n]` and `cmp r12, [r14+16]`. Behind the jump that follows, so that it is met once
/// where the stack has to grow, if there is `push rbp`; else at the jump.
fn behind_check(code: &[u8; HEAD_BYTES]) -> Option<u64> {
    let jump = match code {
        [0x49, 0x3B, 0x66, 0x10, ..] => 4,
        [0x4C, 0x8D, 0x64, 0x24, _, 0x4D, 0x3B, 0x66, 0x10, ..] => 9,
        [0x4C, 0x8D, 0xA4, 0x24, _, _, _, _, 0x4D, 0x3B, 0x66, 0x10, ..] => 12,
        _ => return None,
    };
    match code[jump..] {
        [0x76, _, 0x55, ..] => Some(jump as u64 + 2),
        [0x0F, 0x86, _, _, _, _, 0x55, ..] => Some(jump as u64 + 6),
        [0x76, ..] | [0x0F, 0x86, ..] => Some(jump as u64),
        _ => None,
    }
}

/// In a function whose first act is to load `headerFrame.cleanup` into some register: `mov r64, [rax+64]`. That the field is
/// there tells that those before it are where they are known to be. At the jump behind the test that follows, if there is one.
fn behind_load(code: &[u8; HEAD_BYTES]) -> Option<u64> {
    match code {
        [0x48 | 0x4C, 0x8B, registers, 64, rest @ ..] if registers & 0xC7 == 0x40 => match rest {
            [0x48 | 0x4D, 0x85, _, 0x74 | 0x75, ..] => Some(7),
            _ => Some(0),
        },
        _ => None,
    }
}

fn by_symbols<'data>(object: &impl Object<'data>) -> [Option<u64>; NAMES.len()] {
    let mut found = [None; NAMES.len()];
    for symbol in object.symbols() {
        let name = symbol.name().ok();
        let Some(place) = NAMES.iter().position(|one| Some(*one) == name) else {
            continue;
        };
        found[place] = Some(symbol.address());
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    found
}

/// Most bytes of the runtime's table that are read.
const TABLE_MAX_BYTES: u64 = 256 << 20;

fn by_runtime<'data>(object: &impl Object<'data>) -> Option<[Option<u64>; NAMES.len()]> {
    let table = object
        .section_by_name(".gopclntab")
        .or_else(|| object.section_by_name(".data.rel.ro.gopclntab"))
        .filter(|section| section.size() <= TABLE_MAX_BYTES)?;
    let names = FunctionNames::read(table.data().ok()?)?;
    let start = match names.text {
        0 => object.section_by_name(".text")?.address(),
        start => start,
    };
    let entries = names.entries(NAMES)?;
    Some(entries.map(|entry| start.checked_add(entry?)))
}

fn inline_version(bytes: &[u8]) -> Option<String> {
    if !bytes.starts_with(MAGIC) || bytes.get(MAGIC.len() + 1)? & FLAG_INLINE == 0 {
        return None;
    }
    let length = usize::from(*bytes.get(STRINGS_AT)?);
    // A longer one would need a second length byte; no version has been that long.
    let text = bytes.get(STRINGS_AT + 1..STRINGS_AT + 1 + length.min(VERSION_MAX_BYTES))?;
    let text = std::str::from_utf8(text).ok()?;
    text.starts_with("go").then(|| text.to_owned())
}

/// The layout of a version's runtime, where it is known.
pub(super) fn layout(version: &str) -> Option<GoLayout> {
    let minor = version.strip_prefix("go1.")?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    let minor: u32 = minor[..digits].parse().ok()?;
    LAYOUTS
        .iter()
        .find(|(known, _)| *known == minor)
        .map(|(_, layout)| *layout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_whatever_follows_the_minor_number() {
        let of =
            |text: &str| layout(text).map(|layout| (layout.goroutine_offset, layout.parent_goroutine_offset));
        assert_eq!(of("go1.27.3"), Some((152, 280)));
        assert_eq!(of("go1.24rc1"), Some((160, 280)));
        assert_eq!(of("go1.25 X:nocoverageredesign"), Some((152, 272)));
        assert_eq!(of("go1.20.1"), None);
        assert_eq!(of("go1.99"), None);
        assert_eq!(of("devel +abc"), None);
    }

    #[test]
    fn build_information_is_read_and_garbage_is_not() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([8, FLAG_INLINE]);
        bytes.resize(STRINGS_AT, 0);
        bytes.push(8);
        bytes.extend(b"go1.27.3rest");
        assert_eq!(inline_version(&bytes).as_deref(), Some("go1.27.3"));
        for cut in 0..STRINGS_AT + 9 {
            assert_eq!(inline_version(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(inline_version(b"\xff Go buildinf:\x08\x00"), None);
    }

    /// Filled up with what begins nothing.
    fn head(code: &[u8]) -> [u8; HEAD_BYTES] {
        std::array::from_fn(|at| code.get(at).copied().unwrap_or(0xCC))
    }

    #[test]
    fn functions_are_probed_behind_the_look_at_their_stack() {
        let small = [0x49, 0x3B, 0x66, 0x10];
        let middle = [0x4C, 0x8D, 0x64, 0x24, 0x80, 0x4D, 0x3B, 0x66, 0x10];
        let large = [
            0x4C, 0x8D, 0xA4, 0x24, 0x68, 0xFF, 0xFF, 0xFF, 0x4D, 0x3B, 0x66, 0x10,
        ];
        for check in [&small[..], &middle, &large] {
            let with = |rest: &[u8]| behind_check(&head(&[check, rest].concat()));
            let after = check.len() as u64;
            assert_eq!(with(&[0x76, 0x40, 0x55]), Some(after + 2));
            assert_eq!(with(&[0x0F, 0x86, 0x48, 0x0A, 0, 0, 0x55]), Some(after + 6));
            assert_eq!(with(&[0x0F, 0x86, 0x48, 0x0A, 0, 0, 0x48]), Some(after));
            assert_eq!(with(&[0x90]), None);
        }
        assert_eq!(behind_check(&head(&[0x55, 0x48, 0x89, 0xE5])), None);
        // The comparison of another one.
        assert_eq!(
            behind_check(&head(&[0x4C, 0x8D, 0x64, 0x24, 0x80, 0x76, 0x40])),
            None
        );
    }

    #[test]
    fn the_head_of_a_stream_is_known_by_the_field_that_is_loaded() {
        // The first register argument is RAX; any register may take the field.
        let load = [0x48, 0x8B, 0x48, 64, 0x48, 0x85, 0xC9, 0x74, 0x06];
        assert_eq!(behind_load(&head(&load)), Some(7));
        assert_eq!(behind_load(&head(&[0x4C, 0x8B, 0x50, 64])), Some(0));
        // Another offset, another base, a narrower load.
        for other in [
            [0x48, 0x8B, 0x48, 72],
            [0x48, 0x8B, 0x4B, 64],
            [0x8B, 0x48, 64, 0],
        ] {
            assert_eq!(behind_load(&head(&other)), None, "{other:X?}");
        }
    }

    #[test]
    fn this_test_is_no_go_program() {
        assert_eq!(version(Path::new("/proc/self/exe")), None);
        assert_eq!(version(Path::new("/nonexistent")), None);
    }
}
