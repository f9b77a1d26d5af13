//! Connected pairs of sockets to move bytes through.

use std::{
    net::{TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
};

pub(crate) struct Pair {
    pub(crate) client: OwnedFd,
    pub(crate) server: OwnedFd,
    pub(crate) client_port: u16,
    pub(crate) server_port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

pub(crate) fn tcp(family: Family) -> Pair {
    let listener = TcpListener::bind(match family {
        Family::V4 => "127.0.0.1:0",
        Family::V6 => "[::1]:0",
    })
    .unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    Pair {
        client_port: client.local_addr().unwrap().port(),
        server_port: listener.local_addr().unwrap().port(),
        client: client.into(),
        server: server.into(),
    }
}

pub(crate) fn unix(path: &Path) -> Pair {
    let listener = UnixListener::bind(path).unwrap();
    let client = UnixStream::connect(path).unwrap();
    let (server, _) = listener.accept().unwrap();
    Pair {
        client: client.into(),
        server: server.into(),
        client_port: 0,
        server_port: 0,
    }
}

/// Bytes that tell where they stand.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32)
        .flat_map(|index| (index.wrapping_mul(2_654_435_761)).to_le_bytes())
        .take(len)
        .collect()
}
