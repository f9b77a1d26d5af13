//! Stack: how much of it each chain of calls of the kernel programs takes, and that none copies memory byte by byte.
//!
//! Enters: the kernel object. Leaves: an error that names the chain. The kernel adds the frames of all functions on the way
//! (`check_max_stack_depth_subprog` of `kernel/bpf/verifier.c`), refuses programs with more than 512 bytes, and says so only on
//! the machine where they are loaded; later kernels count less than 5.10 does.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind, SymbolKind};

use crate::build;

/// Less than what the kernel takes, so that there is room for one more frame of the smallest size.
const CHAIN_BYTES_MAX: u64 = 480;
/// `round_up(max_t(u32, stack_depth, 1), 32)`.
const FRAME_STEP: u64 = 32;
/// Written by the compiler where it gives up on plain stores: hundreds of instructions for a record.
const BYTE_BY_BYTE: [&str; 3] = ["memset", "memcpy", "memmove"];

/// By function: the stack it uses itself, and what it calls.
type Functions = BTreeMap<String, Function>;

#[derive(Debug, Default, PartialEq)]
struct Function {
    stack_bytes: u64,
    calls: Vec<String>,
}

pub(crate) fn check() -> Result<()> {
    let path = build::ebpf_object();
    let object = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    judge(&functions(&object)?)
}

fn judge(functions: &Functions) -> Result<()> {
    for (name, function) in functions {
        if let Some(call) = function
            .calls
            .iter()
            .find(|call| BYTE_BY_BYTE.contains(&call.as_str()))
        {
            bail!("{name} calls {call}, which goes byte by byte: write words (agent-ebpf/src/word.rs)");
        }
        let (bytes, chain) = deepest(functions, name, &mut Vec::new())?;
        if bytes > CHAIN_BYTES_MAX {
            bail!(
                "{} take {bytes} bytes of stack; {CHAIN_BYTES_MAX} are allowed",
                chain.join(" -> ")
            );
        }
    }
    Ok(())
}

/// Bytes of the chain from this function on that takes most, and its functions.
fn deepest(functions: &Functions, name: &str, above: &mut Vec<String>) -> Result<(u64, Vec<String>)> {
    let function = functions
        .get(name)
        .with_context(|| format!("{name} is called and not there"))?;
    if above.iter().any(|one| one == name) {
        bail!("{name} calls itself");
    }
    above.push(name.to_owned());
    let mut most = (0, Vec::new());
    for call in &function.calls {
        most = most.max(deepest(functions, call, above)?);
    }
    above.pop();
    let own = function.stack_bytes.max(1).next_multiple_of(FRAME_STEP);
    let mut chain = vec![format!("{name} ({own})")];
    chain.extend(most.1);
    Ok((own + most.0, chain))
}

fn functions(object: &[u8]) -> Result<Functions> {
    let file = object::File::parse(object)?;
    let mut functions = Functions::new();
    for section in file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
    {
        let starts: BTreeMap<u64, &str> = file
            .symbols()
            .filter(|symbol| {
                symbol.kind() == SymbolKind::Text && symbol.section_index() == Some(section.index())
            })
            .map(|symbol| Ok((symbol.address(), symbol.name()?)))
            .collect::<Result<_>>()?;
        let code = section.data()?;
        let instructions: Vec<Instruction> = code.chunks_exact(8).map(Instruction::read).collect();
        // Calls of other functions; what stays in the section may have been resolved already.
        let mut calls = BTreeMap::new();
        for (at, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else {
                continue;
            };
            let symbol = file.symbol_by_index(index)?;
            calls.insert(at, symbol);
        }
        for (&start, &name) in &starts {
            let end = starts
                .range(start + 1..)
                .next()
                .map_or(code.len() as u64, |(next, _)| *next);
            let range = start as usize / 8..end as usize / 8;
            let own = &instructions[range];
            let mut function = Function {
                stack_bytes: stack_bytes(own),
                calls: Vec::new(),
            };
            for (index, instruction) in own.iter().enumerate().filter(|(_, one)| one.is_call()) {
                let at = start + 8 * index as u64;
                // What is called: so many instructions behind the next one, of a section or of this function.
                let (base, to) = match calls.get(&at) {
                    Some(symbol) if symbol.kind() == SymbolKind::Text => {
                        function.calls.push(symbol.name()?.to_owned());
                        continue;
                    }
                    Some(symbol) => (symbol.section_index(), 8 * (i64::from(instruction.immediate) + 1)),
                    None => (
                        Some(section.index()),
                        at as i64 + 8 * (i64::from(instruction.immediate) + 1),
                    ),
                };
                let called = file.symbols().find(|symbol| {
                    symbol.kind() == SymbolKind::Text
                        && symbol.section_index() == base
                        && i64::try_from(symbol.address()) == Ok(to)
                });
                let called = called.with_context(|| format!("{name} calls what has no name"))?;
                function.calls.push(called.name()?.to_owned());
            }
            functions.insert(name.to_owned(), function);
        }
    }
    Ok(functions)
}

/// One instruction (`Documentation/bpf/standardization/instruction-set.rst`).
struct Instruction {
    code: u8,
    to: u8,
    from: u8,
    offset: i16,
    immediate: i32,
}

const FRAME: u8 = 10;
const LOADS: u8 = 1;
const STORES: [u8; 2] = [2, 3];
const ADD_IMMEDIATE: u8 = 0x07;
const MOVE: u8 = 0xBF;
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_CALL`: of a function, not of a helper.
const OF_FUNCTION: u8 = 1;

impl Instruction {
    fn read(bytes: &[u8]) -> Self {
        Self {
            code: bytes[0],
            to: bytes[1] & 0xF,
            from: bytes[1] >> 4,
            offset: i16::from_le_bytes([bytes[2], bytes[3]]),
            immediate: i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        }
    }

    fn is_call(&self) -> bool {
        self.code == CALL && self.from == OF_FUNCTION
    }
}

/// How far below its frame a function reaches, by its own loads and stores and by addresses it takes.
fn stack_bytes(instructions: &[Instruction]) -> u64 {
    let mut lowest = 0;
    // Registers that were set to the frame's address and not yet moved on from it.
    let mut frame = [false; 16];
    for one in instructions {
        let class = one.code & 7;
        let reached = match class {
            LOADS if one.from == FRAME => i64::from(one.offset),
            _ if STORES.contains(&class) && one.to == FRAME => i64::from(one.offset),
            _ if one.code == ADD_IMMEDIATE && frame[usize::from(one.to)] => i64::from(one.immediate),
            _ => 0,
        };
        lowest = lowest.min(reached);
        if !STORES.contains(&class) {
            frame[usize::from(one.to)] = one.code == MOVE && one.from == FRAME;
        }
    }
    lowest.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(stack_bytes: u64, calls: &[&str]) -> Function {
        Function {
            stack_bytes,
            calls: calls.iter().map(|&call| call.to_owned()).collect(),
        }
    }

    #[test]
    fn frames_are_counted_as_the_kernel_does() {
        let code = [
            [0x7B, 0x1A, 0xF8, 0xFF, 0, 0, 0, 0],       // *(u64 *)(r10 - 8) = r1
            [0xBF, 0xA2, 0, 0, 0, 0, 0, 0],             // r2 = r10
            [0x07, 0x02, 0, 0, 0xB0, 0xFF, 0xFF, 0xFF], // r2 += -80
            [0x07, 0x03, 0, 0, 0, 0xFF, 0xFF, 0xFF],    // r3 += -256, which is no address of the frame
            [0x61, 0xA0, 0xF0, 0xFF, 0, 0, 0, 0],       // w0 = *(u32 *)(r10 - 16)
        ];
        let instructions: Vec<Instruction> = code.iter().map(|bytes| Instruction::read(bytes)).collect();
        assert_eq!(stack_bytes(&instructions), 80);
    }

    #[test]
    fn chains_beyond_the_bound_are_named() {
        let mut functions = Functions::from([
            ("hook".to_owned(), function(100, &["near", "far"])),
            ("near".to_owned(), function(1, &[])),
            ("far".to_owned(), function(321, &[])),
        ]);
        assert!(judge(&functions).is_ok());
        functions.insert("far".to_owned(), function(353, &[]));
        let said = judge(&functions).unwrap_err().to_string();
        assert!(said.contains("hook (128) -> far (384) take 512 bytes"), "{said}");
    }

    #[test]
    fn copies_byte_by_byte_are_refused() {
        let functions = Functions::from([
            ("hook".to_owned(), function(8, &["memset"])),
            ("memset".to_owned(), function(0, &[])),
        ]);
        assert!(judge(&functions).is_err());
    }
}
