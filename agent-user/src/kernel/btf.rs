//! BTF: the running kernel's description of its own types, read for the offsets of a few members.
//!
//! Enters: the bytes of `/sys/kernel/btf/vmlinux` (`Documentation/bpf/btf.rst`). Leaves: byte offsets, argument counts, and
//! shorter BTF for whoever only asks for the ids of a few types.
//! Bounded: by the size of the file; members of anonymous members are followed to a fixed depth.

const MAGIC: u16 = 0xEB9F;
const HEADER_BYTES: usize = 24;
/// What every type begins with: name, kind, and size or type.
const HEAD_BYTES: usize = 12;
/// Nesting of anonymous structures inside one another, and chains of typedefs and qualifiers.
const DEPTH_MAX: u32 = 16;

const INT: u32 = 1;
const POINTER: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FORWARD: u32 = 7;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    #[error("not BTF: wrong magic number or header")]
    Header,
    #[error("BTF ends in the middle of type {0}")]
    Truncated(u32),
    #[error("BTF has a type of unknown kind {0}")]
    UnknownKind(u32),
}

/// Type information. Names are looked for one by one: a few dozen are asked for once, and an index of them all takes megabytes.
#[derive(Debug)]
pub(super) struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins in `types`, by id; id 0 is `void`.
    starts: Vec<u32>,
}

impl<'a> Btf<'a> {
    /// # Errors
    ///
    /// Where the bytes are not well-formed BTF of this machine's byte order.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let word = |at: usize| read_u32(bytes, at).ok_or(BtfError::Header);
        if bytes.len() < HEADER_BYTES || u16::from_ne_bytes([bytes[0], bytes[1]]) != MAGIC {
            return Err(BtfError::Header);
        }
        let header = word(4)? as usize;
        let section = |offset: usize, len: usize| {
            let start = header.checked_add(offset)?;
            bytes.get(start..start.checked_add(len)?)
        };
        let types = section(word(8)? as usize, word(12)? as usize).ok_or(BtfError::Header)?;
        let strings = section(word(16)? as usize, word(20)? as usize).ok_or(BtfError::Header)?;
        let mut btf = Self {
            types,
            strings,
            // Types take thirty bytes each or more; what was reserved and never written takes no memory.
            starts: Vec::with_capacity(1 + types.len() / HEAD_BYTES),
        };
        btf.starts.push(0);
        btf.find_starts()?;
        Ok(btf)
    }

    fn find_starts(&mut self) -> Result<(), BtfError> {
        let mut at = 0usize;
        while at < self.types.len() {
            let id = self.starts.len() as u32;
            let Some(info) = read_u32(self.types, at + 4) else {
                return Err(BtfError::Truncated(id));
            };
            let count = vlen(info) as usize;
            let tail = match kind(info) {
                INT | VAR | DECL_TAG => 4,
                ARRAY => 12,
                STRUCT | UNION | DATASEC | ENUM64 => 12 * count,
                ENUM | FUNC_PROTO => 8 * count,
                POINTER | FORWARD..=FUNC | 16 | TYPE_TAG => 0,
                other => return Err(BtfError::UnknownKind(other)),
            };
            self.starts.push(at as u32);
            at += HEAD_BYTES + tail;
            if at > self.types.len() {
                return Err(BtfError::Truncated(id));
            }
        }
        Ok(())
    }

    /// The first type of this kind and name.
    fn id(&self, wanted: u32, name: &str) -> Option<u32> {
        let index = self.starts.iter().skip(1).position(|&start| {
            let info = read_u32(self.types, start as usize + 4);
            info.map(kind) == Some(wanted) && self.is_named(start, name.as_bytes())
        })?;
        Some(index as u32 + 1)
    }

    /// Whether the type that begins there has this name; its end is looked at only where it begins like that.
    fn is_named(&self, start: u32, name: &[u8]) -> bool {
        let at = read_u32(self.types, start as usize).unwrap_or(u32::MAX) as usize;
        let rest = self.strings.get(at..).unwrap_or_default();
        rest.starts_with(name) && rest.get(name.len()) == Some(&0)
    }

    /// Byte offset of a member, by a path of names through nested structures ("__sk_common.skc_family"). Anonymous
    /// members are looked through. `None` where there is no such member, or it is a bit field.
    pub(super) fn offset(&self, structure: &str, path: &str) -> Option<u32> {
        self.offset_in(self.structure(structure)?, path)
    }

    /// Id of the first structure of this name.
    pub(super) fn structure(&self, name: &str) -> Option<u32> {
        self.id(STRUCT, name)
    }

    /// As [`Self::offset`], of a structure that is found already.
    pub(super) fn offset_in(&self, structure: u32, path: &str) -> Option<u32> {
        let mut id = structure;
        let mut bits = 0;
        for name in path.split('.') {
            let (offset, member) = self.member(id, name.as_bytes(), DEPTH_MAX)?;
            bits += offset;
            id = member;
        }
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// How many arguments a kernel function takes; `None` where it is not described.
    pub(super) fn argument_count(&self, function: &str) -> Option<u32> {
        let id = self.id(FUNC, function)?;
        let (_, _, prototype) = self.head(id)?;
        let (info, ..) = self.head(prototype)?;
        (kind(info) == FUNC_PROTO).then(|| vlen(info))
    }

    /// Value of an enumerator of a named enumeration.
    pub(super) fn enumerator(&self, enumeration: &str, name: &str) -> Option<u32> {
        let id = self.id(ENUM, enumeration)?;
        let (info, ..) = self.head(id)?;
        let start = *self.starts.get(id as usize)? as usize + 12;
        (0..vlen(info) as usize)
            .map(|index| start + index * 8)
            .find_map(|at| {
                (string(self.strings, read_u32(self.types, at)?) == name.as_bytes())
                    .then(|| read_u32(self.types, at + 4))
                    .flatten()
            })
    }

    /// BTF where every type has the id it has here, and only wanted functions and type definitions have their names: what
    /// stands for the others is as short as types are.
    pub(super) fn only(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let (mut types, mut strings) = (Vec::with_capacity(self.starts.len() * HEAD_BYTES), vec![0]);
        for &start in &self.starts[1..] {
            let head = &self.types[start as usize..][..HEAD_BYTES];
            let name = match read_u32(head, 4).map(kind) {
                Some(FUNC | TYPEDEF) => string(self.strings, read_u32(head, 0).unwrap_or(0)),
                _ => b"",
            };
            if wanted(name) {
                types.extend_from_slice(&(strings.len() as u32).to_ne_bytes());
                types.extend_from_slice(&head[4..]);
                strings.extend_from_slice(name);
                strings.push(0);
            } else {
                types.extend([0, FORWARD << 24, 0].map(u32::to_ne_bytes).as_flattened());
            }
        }
        let (types_bytes, strings_bytes) = (types.len() as u32, strings.len() as u32);
        let mut bytes = Vec::with_capacity(HEADER_BYTES + types.len() + strings.len());
        bytes.extend_from_slice(&MAGIC.to_ne_bytes());
        // Version and flags.
        bytes.extend_from_slice(&[1, 0]);
        let sections = [HEADER_BYTES as u32, 0, types_bytes, types_bytes, strings_bytes];
        bytes.extend_from_slice(sections.map(u32::to_ne_bytes).as_flattened());
        bytes.extend(types);
        bytes.extend(strings);
        bytes
    }

    /// Offset in bits and type of a structure's member.
    fn member(&self, id: u32, name: &[u8], depth: u32) -> Option<(u32, u32)> {
        let depth = depth.checked_sub(1)?;
        let (info, _, target) = self.head(id)?;
        match kind(info) {
            TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => return self.member(target, name, depth),
            STRUCT | UNION => {}
            _ => return None,
        }
        let start = *self.starts.get(id as usize)? as usize + 12;
        for index in 0..vlen(info) as usize {
            let at = start + index * 12;
            let member_name = string(self.strings, read_u32(self.types, at)?);
            let member_type = read_u32(self.types, at + 4)?;
            let word = read_u32(self.types, at + 8)?;
            // With the kind flag the upper byte is a bit field's size.
            let (offset, bit_field) = if info >> 31 == 1 {
                (word & 0x00FF_FFFF, word >> 24 != 0)
            } else {
                (word, false)
            };
            if member_name == name && !bit_field {
                return Some((offset, member_type));
            }
            if member_name.is_empty()
                && let Some((inner, inner_type)) = self.member(member_type, name, depth)
            {
                return Some((offset + inner, inner_type));
            }
        }
        None
    }

    /// Info word, name and size-or-type of a type.
    fn head(&self, id: u32) -> Option<(u32, u32, u32)> {
        if id == 0 {
            return None;
        }
        let at = *self.starts.get(id as usize)? as usize;
        Some((
            read_u32(self.types, at + 4)?,
            read_u32(self.types, at)?,
            read_u32(self.types, at + 8)?,
        ))
    }
}

fn kind(info: u32) -> u32 {
    (info >> 24) & 0x1F
}

fn vlen(info: u32) -> u32 {
    info & 0xFFFF
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    four.try_into().ok().map(u32::from_ne_bytes)
}

/// The zero-terminated string at an offset; empty where there is none.
fn string(strings: &[u8], at: u32) -> &[u8] {
    let rest = strings.get(at as usize..).unwrap_or_default();
    rest.split(|&byte| byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int first; struct { int inner; }; }` and a function of two arguments.
    fn small() -> Vec<u8> {
        let strings = b"\0int\0outer\0first\0inner\0call\0";
        let mut types = Vec::new();
        let mut word = |value: u32| types.extend_from_slice(&value.to_ne_bytes());
        // 1: int
        [1, INT << 24, 4, 32].into_iter().for_each(&mut word);
        // 2: anonymous struct { int inner; }
        [0, STRUCT << 24 | 1, 4, 17, 1, 0].into_iter().for_each(&mut word);
        // 3: struct outer
        [5, STRUCT << 24 | 2, 8, 11, 1, 0, 0, 2, 32]
            .into_iter()
            .for_each(&mut word);
        // 4: prototype of two arguments, 5: function `call`
        [0, FUNC_PROTO << 24 | 2, 1, 0, 1, 0, 1]
            .into_iter()
            .for_each(&mut word);
        [23, FUNC << 24, 4].into_iter().for_each(&mut word);
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&MAGIC.to_ne_bytes());
        bytes.extend_from_slice(&[1, 0]);
        for value in [
            24,
            0,
            types.len() as u32,
            types.len() as u32,
            strings.len() as u32,
        ] {
            bytes.extend_from_slice(&value.to_ne_bytes());
        }
        bytes.extend_from_slice(&types);
        bytes.extend_from_slice(strings);
        bytes
    }

    #[test]
    fn members_are_found_also_inside_anonymous_ones() {
        let bytes = small();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.offset("outer", "first"), Some(0));
        assert_eq!(btf.offset("outer", "inner"), Some(4));
        assert_eq!(btf.offset("outer", "absent"), None);
        assert_eq!(btf.offset("absent", "first"), None);
        assert_eq!(btf.argument_count("call"), Some(2));
    }

    #[test]
    fn wanted_types_keep_their_ids_among_nameless_ones() {
        let bytes = small();
        let whole = Btf::parse(&bytes).unwrap();
        let short = whole.only(|name| name == b"call");
        let short = Btf::parse(&short).unwrap();
        assert_eq!(short.starts.len(), whole.starts.len());
        assert_eq!(short.id(FUNC, "call"), whole.id(FUNC, "call"));
        assert_eq!(short.id(FUNC, "call"), Some(5));
        assert_eq!(short.id(STRUCT, "outer"), None);
        assert_eq!(short.strings, b"\0call\0");
    }

    #[test]
    fn damaged_bytes_are_refused_not_followed() {
        let bytes = small();
        for len in 0..bytes.len() {
            let _ = Btf::parse(&bytes[..len]);
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7F, 0xFF] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                if let Ok(btf) = Btf::parse(&damaged) {
                    let _ = btf.offset("outer", "inner");
                    let _ = btf.argument_count("call");
                    assert!(Btf::parse(&btf.only(|name| !name.is_empty())).is_ok());
                }
            }
        }
    }

    #[test]
    fn the_running_kernel_describes_its_sockets() {
        let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            eprintln!("skipped: this kernel has no /sys/kernel/btf/vmlinux");
            return;
        };
        let btf = Btf::parse(&bytes).unwrap();
        // `skc_daddr` and `skc_rcv_saddr` have opened `struct sock` since Linux 3.13.
        assert_eq!(btf.offset("sock", "__sk_common.skc_daddr"), Some(0));
        assert_eq!(btf.offset("sock", "__sk_common.skc_rcv_saddr"), Some(4));
        // `enum pid_type` of `include/linux/pid_types.h`.
        assert_eq!(btf.enumerator("pid_type", "PIDTYPE_TGID"), Some(1));
        assert_eq!(btf.enumerator("pid_type", "PIDTYPE_ABSENT"), None);
        assert!(btf.offset("tcp_sock", "write_seq") > btf.offset("sock", "sk_protocol"));
    }
}
