//! Load: the embedded programs go into the kernel, with what this kernel's layout and the settings say.

use std::{collections::HashMap, fs};

use aya::EbpfLoader;
use object::{Object as _, ObjectSection as _};
use rustc_hash::FxHashSet;
use spanhound_common::{
    Layout, Switches, limits,
    tree::{TREE, TREE_SECTION},
};

use super::{
    btf::Btf,
    capture::{CaptureError, Settings},
    layout, memory, privileges, probes,
};

/// The kernel programs as built; empty where the agent was built without.
static PROGRAMS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/programs.o"));

const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// Maps and programs in user space's hands, nothing attached yet.
pub(super) struct Loaded {
    pub programs: aya::Ebpf,
    pub layout: Layout,
    pub btf: aya::Btf,
    /// Argument counts of the kernel functions the probe table names, those that are there.
    pub arguments: HashMap<&'static str, u32>,
}

/// Whether this agent carries programs.
pub(super) fn built_with_programs() -> bool {
    !PROGRAMS.is_empty()
}

pub(super) fn load(settings: &Settings) -> Result<Loaded, CaptureError> {
    if !built_with_programs() {
        return Err(CaptureError::NoPrograms);
    }
    check_tree(PROGRAMS)?;
    privileges::check()?;
    privileges::lift_memory_limit();
    let Described {
        layout,
        iterator,
        registers,
        arguments,
        attachable,
    } = describe(&fs::read(BTF_PATH).map_err(CaptureError::NoBtf)?)?;
    memory::give_memory_back();
    let ring_bytes = ring_bytes(settings.ring_bytes);
    let switches = Switches {
        own_pid: if settings.ignore_self {
            std::process::id()
        } else {
            0
        },
        chosen_only: settings.chosen_only.into(),
        port_rules: (!settings.ports.is_empty()).into(),
        rest_ignored: settings.rest_ignored().into(),
        default_bytes: settings.default_bytes.min(limits::CAPTURE_BYTES_MAX),
        setting_mask: limits::SETTINGS_DEFAULT - 1,
        wake_bytes: ring_bytes / 4,
        unix: settings.unix.into(),
        udp: settings.udp.into(),
        iterator_buffer: iterator.buffer,
        iterator_vector: iterator.vector,
        iterator_mask: iterator.mask,
        registers,
        reserved: 0,
    };
    let mut loader = EbpfLoader::new();
    // It has read all of the kernel's types by now, and nothing in the programs is relocated by them.
    loader.btf(None);
    memory::give_memory_back();
    let programs = loader
        .override_global("LAYOUT", &layout, true)
        .override_global("SWITCHES", &switches, true)
        .map_max_entries("EVENTS", ring_bytes)
        .map_max_entries("CONNECTIONS", settings.connections.max(1))
        .map_max_entries("PROCESSES", settings.processes.max(1))
        .load(PROGRAMS)
        .map_err(|error| CaptureError::Load(Box::new(error)))?;
    let btf = aya::Btf::parse(&attachable, aya::Endianness::default())
        .map_err(|error| CaptureError::Load(Box::new(error.into())))?;
    drop(attachable);
    memory::give_memory_back();
    Ok(Loaded {
        programs,
        layout,
        btf,
        arguments,
    })
}

/// What the running kernel says of its own types, in short.
struct Described {
    layout: Layout,
    iterator: layout::Iterator,
    registers: u32,
    arguments: HashMap<&'static str, u32>,
    /// BTF of what the probe table names.
    attachable: Vec<u8>,
}

fn describe(bytes: &[u8]) -> Result<Described, CaptureError> {
    let btf = Btf::parse(bytes)?;
    let targets: FxHashSet<&'static str> = probes::targets().collect();
    let is_target = |name: &[u8]| std::str::from_utf8(name).is_ok_and(|name| targets.contains(name));
    let arguments = targets
        .iter()
        .filter_map(|&target| Some((target, btf.argument_count(target)?)))
        .collect();
    Ok(Described {
        layout: layout::resolve(&btf).0,
        iterator: layout::iterator(&btf),
        registers: btf
            .enumerator("bpf_func_id", "BPF_FUNC_task_pt_regs")
            .is_some()
            .into(),
        arguments,
        // A tracepoint's function has a type of this name.
        attachable: btf.only(|name| is_target(name.strip_prefix(b"btf_trace_").unwrap_or(name))),
    })
}

/// Records, rules and offsets mean the same on both sides only when both were built from the same sources.
fn check_tree(programs: &[u8]) -> Result<(), CaptureError> {
    let object = object::File::parse(programs).map_err(|_| CaptureError::OtherTree)?;
    let section = object.section_by_name(TREE_SECTION);
    let number = section.and_then(|section| section.data().ok());
    if number == Some(&TREE.to_le_bytes()) {
        Ok(())
    } else {
        Err(CaptureError::OtherTree)
    }
}

/// A power of two, at least a page and at most a GiB.
fn ring_bytes(wanted: u32) -> u32 {
    wanted.clamp(4096, 1 << 30).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_another_tree_is_refused() {
        assert!(matches!(check_tree(&[]), Err(CaptureError::OtherTree)));
        if !built_with_programs() {
            eprintln!("skipped: this agent was built without kernel programs");
            return;
        }
        let mut other = PROGRAMS.to_vec();
        let number = TREE.to_le_bytes();
        let places: Vec<usize> = (0..other.len() - 8)
            .filter(|&at| other[at..at + 8] == number)
            .collect();
        for at in places {
            other[at] ^= 1;
        }
        assert!(matches!(check_tree(&other), Err(CaptureError::OtherTree)));
    }

    #[test]
    fn ring_sizes_are_what_the_kernel_takes() {
        assert_eq!(ring_bytes(0), 4096);
        assert_eq!(ring_bytes(5000), 8192);
        assert_eq!(ring_bytes(u32::MAX), 1 << 30);
    }
}
