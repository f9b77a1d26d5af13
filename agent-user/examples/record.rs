//! Records real conversations for `tests/wire`: a TCP proxy that prints what passes.
//!
//! `cargo run -p spanhound-agent --example record -- 127.0.0.1:25001 127.0.0.1:5432 > tests/wire/postgresql/new.txt`
//!
//! Point the client at the first address and press Ctrl-C when it is done. Each connection is printed when it closes.
//! What it held (the `=` lines) is for its author to write: from the client's point of view, not from the parser's.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(server)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: record LISTEN_ADDRESS SERVER_ADDRESS");
    };
    let listener = TcpListener::bind(&listen).with_context(|| format!("cannot listen on {listen}"))?;
    for client in listener.incoming() {
        let client = client?;
        let server = TcpStream::connect(&server).with_context(|| format!("cannot connect to {server}"))?;
        std::thread::spawn(move || pass(client, server));
    }
    Ok(())
}

fn pass(client: TcpStream, server: TcpStream) -> anyhow::Result<()> {
    let written = Arc::new(Mutex::new(String::new()));
    let upstream = {
        let (from, to, written) = (client.try_clone()?, server.try_clone()?, written.clone());
        std::thread::spawn(move || copy(from, to, '>', &written))
    };
    let downstream = copy(server, client, '<', &written);
    let up = upstream.join();
    if let Ok(text) = written.lock() {
        println!("{text}%");
    }
    downstream.and(up.unwrap_or(Ok(())))
}

fn copy(mut from: TcpStream, mut to: TcpStream, mark: char, written: &Mutex<String>) -> anyhow::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            let _ = to.shutdown(Shutdown::Write);
            return Ok(());
        }
        if let Ok(mut text) = written.lock() {
            write_turn(&mut text, mark, &buffer[..count])?;
        }
        to.write_all(&buffer[..count])?;
    }
}

/// A turn, broken into lines of a readable length, at line ends where there are some.
fn write_turn(text: &mut String, mark: char, bytes: &[u8]) -> std::fmt::Result {
    let mut column = 0;
    write!(text, "{mark} ")?;
    for (place, byte) in bytes.iter().enumerate() {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}")?,
        }
        column += 1;
        if (*byte == b'\n' || column >= 80) && place + 1 < bytes.len() {
            text.push_str("\n+ ");
            column = 0;
        }
    }
    text.push('\n');
    Ok(())
}
