//! How many files, sockets included, this process may have open.
//!
//! Systems start programs with a soft limit of 1,024 or even 256, for the sake of old ones that use `select`, and let
//! them raise it to the hard limit. A server of ten full rooms needs more.

/// Raises the soft limit to the hard one, where there are such limits, and answers what may be open from then on; `None`
/// where the system has no limit or does not tell.
#[cfg(unix)]
pub fn raise() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // A macOS without a hard limit still takes no more than OPEN_MAX (getrlimit(2) there).
        const OPEN_MAX: u64 = 10_240;
        let wanted = [maximum, Some(maximum.unwrap_or(OPEN_MAX).min(OPEN_MAX))];
        let more = wanted.into_iter().filter(|wanted| wanted.is_none() || *wanted > current);
        // What cannot be raised stays as it is, and that is what is answered.
        more.take_while(|wanted| setrlimit(Resource::Nofile, Rlimit { current: *wanted, maximum }).is_err()).count();
    }
    limit()
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub fn raise() -> Option<u64> {
    None
}

/// How many may be open; `None` where the system has no limit or does not tell.
#[cfg(unix)]
pub fn limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub fn limit() -> Option<u64> {
    None
}

/// Files kept for all that is no control connection: datagrams, the spool, metrics, commands, and connections that are
/// told why they are closed.
const KEPT: u64 = 192;

/// How many control connections there is room for, so that the files last for those that are in.
pub(crate) fn room_for_connections(limit: Option<u64>, wanted: usize) -> usize {
    let room = limit.map_or(u64::MAX, |limit| limit - KEPT.min(limit / 2));
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_never_take_the_last_files() {
        assert_eq!(room_for_connections(None, 16_384), 16_384);
        assert_eq!(room_for_connections(Some(1_048_576), 16_384), 16_384);
        assert_eq!(room_for_connections(Some(1_024), 16_384), 832);
        assert_eq!(room_for_connections(Some(64), 16_384), 32);
    }

    #[cfg(unix)]
    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let raised = raise();
        assert_eq!(raised, rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum);
        assert_eq!(limit(), raised);
    }
}
