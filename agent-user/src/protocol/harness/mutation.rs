//! Recordings changed at random, from a fixed seed: whatever comes of them, no panic, no endless loop, bounded memory.

use super::{Clock, Run, allocation};
use crate::protocol::recording::Conversation;

const VARIANTS: u64 = 300;

/// What a flow may hold beyond what it was shown: its queues and tables at their bounds.
const MEMORY_CONSTANT_BYTES: usize = 4 << 20;
const MEMORY_PER_BYTE: usize = 16;

pub(super) fn check(conversation: &Conversation) {
    for seed in 1..=VARIANTS {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut changed = conversation.clone();
        for _ in 0..=dice.below(4) {
            change(&mut changed, &mut dice);
        }
        let shown = changed.total_bytes();
        let peak = allocation::peak_during(|| {
            let mut run = Run {
                forced: Some(conversation.protocol),
                ..Run::of(&changed)
            };
            if dice.below(3) == 0 {
                run.lossy_turn = Some((dice.below(changed.turns.len()), dice.below(64)));
            }
            play_quietly(&run);
        });
        let bound = MEMORY_CONSTANT_BYTES + MEMORY_PER_BYTE * shown;
        assert!(
            peak <= bound,
            "{}: seed {seed}: {peak} bytes allocated for {shown} shown",
            conversation.name
        );
    }
}

fn play_quietly(run: &Run<'_>) {
    let (mut flow, mut seen) = run.open();
    let mut clock = Clock::default();
    for (number, turn) in run.conversation.turns.iter().enumerate() {
        let keep = run
            .lossy_turn
            .filter(|(lossy, _)| *lossy == number)
            .map_or(usize::MAX, |(_, keep)| keep);
        let bytes = &turn.bytes[..turn.bytes.len().min(keep)];
        clock.show(&mut flow, turn.side, bytes, turn.bytes.len(), &mut seen);
        seen.finished.clear();
    }
    flow.closed(clock.time_ns + 1, &mut seen);
}

fn change(conversation: &mut Conversation, dice: &mut Dice) {
    let turns = conversation.turns.len();
    let number = dice.below(turns);
    let other = conversation.turns[dice.below(turns)].bytes.clone();
    let bytes = &mut conversation.turns[number].bytes;
    let place = dice.below(bytes.len().max(1));
    match dice.below(8) {
        _ if bytes.is_empty() => bytes.extend(other),
        0 => bytes[place] ^= 1 << dice.below(8),
        1 => bytes[place] = dice.below(256) as u8,
        2 => bytes[place] = [0x00, 0xff, 0x7f, 0x80][dice.below(4)],
        3 => bytes.truncate(place),
        4 => drop(bytes.drain(..place)),
        5 => {
            let from = dice.below(other.len().max(1));
            bytes.splice(
                place..place,
                other[from.min(other.len())..].iter().copied().take(512),
            );
        }
        6 => {
            let end = (place + 4).min(bytes.len());
            bytes[place..end].fill(0xff);
        }
        _ => conversation.turns.swap(number, dice.below(turns)),
    }
}

/// A xorshift generator: the same variants in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound.max(1)
    }
}
