//! Callgrind's output (valgrind manual, "Callgrind Format Specification"), summed up by the agent's rooms.
//!
//! What stands in a room's source file is the room's, inlined or not. What the libraries do (allocate, copy, hash) is shared
//! out to the rooms that called them, by the cost of the calls.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

const ROOMS_DIRECTORY: &str = "agent-user/src/";
/// Rounds of sharing out: libraries call each other, some in circles.
const ROUNDS: usize = 40;
const ELSEWHERE: &str = "(bench)";

#[derive(Default)]
struct Function {
    /// Of its own instructions, those that stand in no room's file.
    library_cost: f64,
    in_library: bool,
    callers: Vec<Call>,
}

struct Call {
    cost: f64,
    /// The room whose code calls; else the library function it stands in.
    from: Result<String, usize>,
}

/// Instructions by room, the dearest first. Wants uncompressed names and positions.
pub(super) fn by_room(text: &str) -> Result<Vec<(String, f64)>> {
    let mut rooms: BTreeMap<String, f64> = BTreeMap::new();
    let mut functions: Vec<Function> = Vec::new();
    let mut number_of: BTreeMap<String, usize> = BTreeMap::new();
    let mut number = |functions: &mut Vec<Function>, name: &str| {
        *number_of.entry(name.to_owned()).or_insert_with(|| {
            functions.push(Function::default());
            functions.len() - 1
        })
    };
    let (mut home, mut place) = (None, None);
    let (mut current, mut callee) = (0, None);
    for line in text.lines() {
        if let Some((key, value)) = line.split_once('=') {
            match key {
                "fl" => home = room_of(value),
                "fi" | "fe" => place = room_of(value),
                "fn" => {
                    place = home.clone();
                    // By name alone: a file is written in more than one way.
                    current = number(&mut functions, value);
                    functions[current].in_library = home.is_none();
                }
                "cfn" => callee = Some(number(&mut functions, value)),
                _ => {}
            }
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        let is_position = words
            .next()
            .is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(cost) = words.next().and_then(|cost| cost.parse::<f64>().ok()) else {
            continue;
        };
        if !is_position {
            continue;
        }
        let room = place.clone().or_else(|| home.clone());
        match callee.take() {
            Some(callee) => {
                let from = room.ok_or(current);
                functions[callee].callers.push(Call { cost, from });
            }
            None => match room {
                Some(room) => *rooms.entry(room).or_default() += cost,
                None => functions[current].library_cost += cost,
            },
        }
    }
    if functions.is_empty() {
        bail!("callgrind counted nothing");
    }
    share_out(&functions, &mut rooms);
    let mut sorted: Vec<_> = rooms.into_iter().collect();
    sorted.sort_by(|left, right| right.1.total_cmp(&left.1));
    Ok(sorted)
}

/// Adds what library functions cost to the rooms they were called from.
fn share_out(functions: &[Function], rooms: &mut BTreeMap<String, f64>) {
    let mut shares: Vec<BTreeMap<&str, f64>> = vec![BTreeMap::new(); functions.len()];
    for _ in 0..ROUNDS {
        for (at, function) in functions
            .iter()
            .enumerate()
            .filter(|(_, function)| function.in_library)
        {
            let all: f64 = function.callers.iter().map(|call| call.cost).sum();
            let mut share: BTreeMap<&str, f64> = BTreeMap::new();
            for call in &function.callers {
                let part = call.cost / all.max(1.0);
                match &call.from {
                    Ok(room) => *share.entry(room).or_default() += part,
                    Err(caller) => {
                        for (room, of_caller) in &shares[*caller] {
                            *share.entry(room).or_default() += part * of_caller;
                        }
                    }
                }
            }
            shares[at] = share;
        }
    }
    for (function, share) in functions.iter().zip(&shares) {
        let known: f64 = share.values().sum();
        for (room, part) in share {
            *rooms.entry((*room).to_owned()).or_default() += function.library_cost * part;
        }
        *rooms.entry(ELSEWHERE.to_owned()).or_default() += function.library_cost * (1.0 - known);
    }
}

/// The room a source file belongs to; the bench's own code and what nobody else called is one more.
fn room_of(file: &str) -> Option<String> {
    if file.contains("agent-user/examples/") {
        return Some(ELSEWHERE.to_owned());
    }
    let behind = &file[file.find(ROOMS_DIRECTORY)? + ROOMS_DIRECTORY.len()..];
    let room = behind.split('/').next().unwrap_or_default();
    Some(room.trim_end_matches(".rs").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn library_code_is_charged_to_the_rooms_that_call_it() {
        let text = "events: Ir\n\nfl=/x/agent-user/src/link/linker.rs\nfn=seen\n10 100\nfe=/rust/hash.rs\n7 50\n\
            cfi=/libc/malloc.c\ncfn=malloc\ncalls=3 12\n11 300\n\nfl=/x/agent-user/src/span/mod.rs\nfn=name\n5 10\n\
            cfi=/libc/malloc.c\ncfn=malloc\ncalls=1 12\n6 100\n\nfl=/libc/malloc.c\nfn=malloc\n12 360\n\
            cfn=refill\ncalls=1 20\n13 40\n\nfn=refill\n20 40\n";
        let rooms = by_room(text).unwrap();
        assert_eq!(rooms[0], ("link".to_owned(), 450.0));
        assert_eq!(rooms[1], ("span".to_owned(), 110.0));
        assert!(rooms[2].1.abs() < 1e-9);
        assert!(by_room("events: Ir\n").is_err());
    }
}
