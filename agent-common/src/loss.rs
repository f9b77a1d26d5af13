//! Loss: every reason for which the kernel side lets something go, by name.

macro_rules! losses {
    ($($(#[$doc:meta])* $variant:ident = $index:literal, $name:literal;)*) => {
        /// Why the kernel side let something go. The value is the index of its counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Loss { $($(#[$doc])* $variant = $index,)* }

        impl Loss {
            pub const ALL: &'static [Loss] = &[$(Loss::$variant,)*];
            pub const COUNT: u32 = Self::ALL.len() as u32;

            /// The name used on every surface: log, wire, API, page.
            pub const fn name(self) -> &'static str {
                match self { $(Loss::$variant => $name,)* }
            }
        }
    };
}

losses! {
    /// A data record found the ring buffer full. Its bytes show as a gap in the stream.
    RingFullData = 0, "ring_full_data";
    /// An opening record found the ring buffer full. It is tried again with the connection's next data.
    RingFullOpened = 1, "ring_full_opened";
    /// A closing record found the ring buffer full.
    RingFullClosed = 2, "ring_full_closed";
    /// A process record found the ring buffer full.
    RingFullProcess = 3, "ring_full_process";
    /// Bytes a socket counted that no hook saw move. Counted in bytes; a gap in the stream.
    UnseenBytes = 4, "unseen_bytes";
    /// The payload's memory could not be read. Its bytes are counted by position, not captured.
    UnreadablePayload = 5, "unreadable_payload";
    /// Two threads moved the first data of a connection at once; the second one's record was let go.
    OpeningRace = 6, "opening_race";
    /// The connection map refused an entry.
    ConnectionMapFull = 7, "connection_map_full";
    /// A call's arguments were forgotten between its entry and its return.
    CallForgotten = 8, "call_forgotten";
    /// A socket whose kind or layout could not be read.
    UnreadableSocket = 9, "unreadable_socket";
    /// Messages of one `sendmmsg`/`recvmmsg` beyond those the syscall tier looks at.
    UnseenMessages = 10, "unseen_messages";
    /// A connecting record found the ring buffer full: for which request was connected is not known.
    RingFullConnecting = 11, "ring_full_connecting";
    /// The kernel left a program out because it was running on that processor already (taken off it in the middle). Counted
    /// by the kernel, not by the programs.
    MissedRuns = 12, "missed_runs";
    /// A record of wake-ups found the ring buffer full: what was handed to that thread is not known.
    RingFullWoken = 13, "ring_full_woken";
    /// A record of tasks that wait for others found the ring buffer full: a call of such a task may miss its request.
    RingFullAwaited = 14, "ring_full_awaited";
    /// A datagram whose destination could not be told: its address is unreadable, or the ring buffer was full.
    UnknownAddressee = 15, "unknown_addressee";
    /// A record of who asked for a stream, or serves it, found the ring buffer full: a call may miss its request.
    RingFullMultiplexed = 16, "ring_full_multiplexed";
}

const _: () = {
    let mut index = 0;
    while index < Loss::ALL.len() {
        assert!(
            Loss::ALL[index] as usize == index,
            "indices of losses are consecutive"
        );
        index += 1;
    }
};
