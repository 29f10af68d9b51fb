//! Which endpoint takes the next call, and which ones want another connection: a pure choice over their loads.
//!
//! Knows neither connections nor time.

use smallvec::SmallVec;

use crate::config::Balance;

/// What one worker sees of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// Takes a call at once; so many are in flight.
    Free(usize),
    /// Connected, but every stream that the peer allows is in use.
    Full(usize),
    /// Not connected.
    Down,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pick {
    /// The endpoint that takes the call, where any can.
    pub(super) chosen: Option<usize>,
    /// Endpoints that would have been chosen, had they been connected or had they room.
    pub(super) wanted: SmallVec<[usize; 4]>,
}

/// Chooses among `count` endpoints. `turn` is where the search begins and goes on from what was chosen, so that equal
/// loads take turns.
pub(super) fn pick(policy: Balance, turn: &mut usize, count: usize, load: impl Fn(usize) -> Load) -> Pick {
    let order = (*turn..count).chain(0..(*turn).min(count));
    let pick = match policy {
        Balance::RoundRobin => next_in_turn(order, load),
        Balance::LeastRequest => least_loaded(order, load),
    };
    if let Some(chosen) = pick.chosen {
        *turn = if chosen + 1 < count { chosen + 1 } else { 0 };
    }
    pick
}

fn next_in_turn(order: impl Iterator<Item = usize>, load: impl Fn(usize) -> Load) -> Pick {
    let mut pick = Pick::default();
    for index in order {
        if let Load::Free(_) = load(index) {
            pick.chosen = Some(index);
            break;
        }
        pick.wanted.push(index);
    }
    pick
}

fn least_loaded(order: impl Iterator<Item = usize>, load: impl Fn(usize) -> Load) -> Pick {
    let mut pick = Pick::default();
    let mut least = usize::MAX;
    let mut full: SmallVec<[(usize, usize); 4]> = SmallVec::new();
    for index in order {
        match load(index) {
            Load::Free(calls) if pick.chosen.is_none() || calls < least => {
                pick.chosen = Some(index);
                least = calls;
            }
            Load::Free(_) => {}
            Load::Full(calls) => full.push((index, calls)),
            Load::Down => pick.wanted.push(index),
        }
    }
    pick.wanted.extend(full.iter().filter(|(_, calls)| *calls < least).map(|(index, _)| *index));
    pick
}

#[cfg(test)]
mod tests {
    use super::{
        Load::{Down, Free, Full},
        *,
    };

    fn picked(policy: Balance, turn: usize, loads: &[Load]) -> (Option<usize>, Vec<usize>, usize) {
        let mut turn = turn;
        let pick = pick(policy, &mut turn, loads.len(), |index| loads[index]);
        (pick.chosen, pick.wanted.to_vec(), turn)
    }

    #[test]
    fn round_robin_goes_round_whatever_the_load() {
        let loads = [Free(9), Free(0), Free(5)];
        assert_eq!(picked(Balance::RoundRobin, 0, &loads), (Some(0), vec![], 1));
        assert_eq!(picked(Balance::RoundRobin, 1, &loads), (Some(1), vec![], 2));
        assert_eq!(picked(Balance::RoundRobin, 2, &loads), (Some(2), vec![], 0));
    }

    #[test]
    fn round_robin_passes_over_those_without_room_and_asks_for_them() {
        assert_eq!(picked(Balance::RoundRobin, 0, &[Down, Full(3), Free(1)]), (Some(2), vec![0, 1], 0));
        assert_eq!(picked(Balance::RoundRobin, 1, &[Down, Full(3)]), (None, vec![1, 0], 1));
    }

    #[test]
    fn least_request_takes_the_least_loaded() {
        assert_eq!(picked(Balance::LeastRequest, 0, &[Free(2), Free(1), Free(3)]), (Some(1), vec![], 2));
    }

    #[test]
    fn equal_loads_take_turns() {
        let mut turn = 0;
        let chosen: Vec<_> =
            (0..6).map(|_| pick(Balance::LeastRequest, &mut turn, 3, |_| Free(1)).chosen.unwrap()).collect();
        assert_eq!(chosen, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn least_request_wants_connections_where_they_would_be_chosen() {
        assert_eq!(picked(Balance::LeastRequest, 0, &[Down, Full(1), Free(4)]), (Some(2), vec![0, 1], 0));
        assert_eq!(picked(Balance::LeastRequest, 0, &[Full(8), Free(4)]), (Some(1), vec![], 0));
        assert_eq!(picked(Balance::LeastRequest, 0, &[Full(8), Full(9)]), (None, vec![0, 1], 0));
    }
}
