//! Replay: a capture file walks through the rooms as if the kernel had reported it.
//!
//! Enters: a pcap or pcapng file, compressed or not. Leaves: one line a span, in the order in which exchanges end (those that never do come
//! when their connection, or the file, ends); counters on standard error. Bounded: by [`packet`], [`reassembly`] and the
//! rooms behind. Deliberately absent: live capture, and links that need processes.

pub mod capture_file;
mod compressed_file;
mod following;
mod fragments;
mod line;
pub mod link_layer;
pub mod packet;
pub mod reassembly;
mod tunnel;
mod wireless;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use thiserror::Error;

use self::capture_file::{CaptureFileError, read_packets};
use self::following::Following;
use self::line::Line;
use self::packet::PacketReader;
use self::reassembly::Reassembler;
use crate::protocol::Protocol;

pub use self::following::ServerPort;

/// Bytes of the file between two signs of progress.
const PROGRESS_BYTES: u64 = 32 << 20;

/// Run a capture file through the parsers and print the spans in it. Needs no privileges.
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// A pcap or pcapng file; "-" reads standard input.
    pub file: PathBuf,
    /// How each span is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// What listens on this port speaks this protocol; may be given several times.
    #[arg(long, value_name = "PORT=PROTOCOL", value_parser = server_port)]
    pub server_port: Vec<ServerPort>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For reading.
    Text,
}

#[derive(Debug, Error)]
pub enum ReplayError {
    #[error("{path}: {error}", path = path.display())]
    Open { path: PathBuf, error: io::Error },
    #[error("{path}: {error}", path = path.display())]
    File { path: PathBuf, error: CaptureFileError },
    #[error("cannot write the spans: {0}")]
    Write(io::Error),
}

fn server_port(text: &str) -> Result<ServerPort, String> {
    let (port, name) = text.split_once('=').ok_or("expected PORT=PROTOCOL")?;
    let port = port.parse().map_err(|_| format!("{port:?} is no port number"))?;
    let protocol = Protocol::from_name(name).filter(|protocol| protocol.definition().is_some());
    protocol
        .map(|protocol| ServerPort { port, protocol })
        .ok_or_else(|| {
            let known: Vec<&str> = crate::protocol::table::TABLE
                .iter()
                .map(|(protocol, _)| protocol.name())
                .collect();
            format!("unknown protocol {name:?}; known are {}", known.join(", "))
        })
}

/// Prints the spans of a capture file to `out`, and counters to `counters`.
///
/// # Errors
/// An unreadable, damaged or cut file, after the spans of its readable part; a failed write, unless the reader of `out`
/// is gone: then it just stops.
pub fn run(args: &ReplayArgs, out: &mut impl Write, counters: &mut impl Write) -> Result<(), ReplayError> {
    let (file, size_bytes): (Box<dyn Read + Send>, u64) = if args.file.as_os_str() == "-" {
        (Box::new(io::stdin()), 0)
    } else {
        let opened = File::open(&args.file).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size_bytes, file) = opened.map_err(|error| ReplayError::Open {
            path: args.file.clone(),
            error,
        })?;
        (Box::new(file), size_bytes)
    };
    let mut printer = Printer {
        out: BufWriter::with_capacity(1 << 16, out),
        format: args.format,
        failed: None,
    };
    let mut packets = PacketReader::default();
    let mut reassembler = Reassembler::new(args.server_port.iter().map(|forced| forced.port).collect());
    let mut following = Following::new(&args.server_port);
    let mut progress = Progress::new(size_bytes);
    let end = read_packets(file, &mut |packet, offset| {
        packets.read(&packet, &mut |segment| {
            reassembler.segment(&segment, &mut |event| {
                following.event(event, &mut |line| printer.print(line))
            });
        });
        progress.at(offset);
        printer.failed.take().map_or(Ok(()), Err)
    });
    progress.done();
    let end = match end {
        Ok(Err(error)) => return stopped(error),
        Ok(Ok(())) => Ok(()),
        Err(error) => Err(ReplayError::File {
            path: args.file.clone(),
            error,
        }),
    };
    reassembler.finish(&mut |event| following.event(event, &mut |line| printer.print(line)));
    let written = printer.failed.take().map_or_else(|| printer.out.flush(), Err);
    if let Err(error) = written {
        return stopped(error);
    }
    report(&following, &packets, &reassembler, counters).map_err(ReplayError::Write)?;
    end
}

/// Nobody reads on (`| head`): no error.
fn stopped(error: io::Error) -> Result<(), ReplayError> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Ok(())
    } else {
        Err(ReplayError::Write(error))
    }
}

fn report(
    following: &Following<'_>,
    packets: &PacketReader,
    reassembler: &Reassembler,
    out: &mut impl Write,
) -> io::Result<()> {
    let (packet, stream) = (packets.counters(), reassembler.counters());
    let totals = [
        ("packets", packet.packets),
        ("tcp_connections", stream.tcp_connections),
        ("udp_flows", stream.udp_flows),
        ("spans", following.spans),
    ];
    let losses = [
        ("packets_not_tcp_or_udp", packet.not_tcp_or_udp),
        ("packets_malformed", packet.malformed),
        ("fragments_dropped", packet.fragments_dropped),
        ("segments_repeated", stream.repeated_segments),
        ("bytes_not_captured", stream.missing_bytes),
        ("connections_evicted", stream.evicted_connections),
        ("connections_of_unknown_protocol", following.unknown_connections),
        ("responses_without_request", following.responses_without_request),
    ];
    for (name, count) in totals {
        writeln!(out, "{name} {count}")?;
    }
    for (name, count) in losses
        .into_iter()
        .chain(following.losses.iter().copied())
        .filter(|(_, count)| *count > 0)
    {
        writeln!(out, "{name} {count}")?;
    }
    Ok(())
}

struct Printer<W: Write> {
    out: BufWriter<W>,
    format: Format,
    failed: Option<io::Error>,
}

impl<W: Write> Printer<W> {
    fn print(&mut self, line: &Line<'_>) {
        if self.failed.is_some() {
            return;
        }
        let written = match self.format {
            Format::Json => serde_json::to_writer(&mut self.out, line).map_err(io::Error::from),
            Format::Text => write!(self.out, "{line}"),
        };
        self.failed = written.and_then(|()| self.out.write_all(b"\n")).err();
    }
}

/// A percentage on the terminal; silent when standard error is none, or the size unknown.
struct Progress {
    size_bytes: u64,
    next_bytes: u64,
}

impl Progress {
    fn new(size_bytes: u64) -> Self {
        let shown = size_bytes > PROGRESS_BYTES && io::stderr().is_terminal();
        Self {
            size_bytes,
            next_bytes: if shown { PROGRESS_BYTES } else { u64::MAX },
        }
    }

    fn at(&mut self, offset: u64) {
        if offset >= self.next_bytes {
            self.next_bytes = offset + PROGRESS_BYTES;
            eprint!(
                "\r{:>3} %",
                (offset.saturating_mul(100) / self.size_bytes).min(100)
            );
        }
    }

    fn done(&self) {
        if self.next_bytes != u64::MAX {
            eprint!("\r     \r");
        }
    }
}

#[cfg(test)]
mod tests;
