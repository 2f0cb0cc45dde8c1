//! What a person reads where datagrams do not go both ways between a member and the server.

use common::wire::control::Reach;

/// What became of somebody else's data plane, as a sentence; `None` where that is nothing new for others.
pub(crate) fn sentence(name: &str, before: Reach, after: Reach) -> Option<String> {
    if mark(before) == mark(after) {
        return None;
    }
    Some(match after {
        Reach { heard: true, hears: true } => format!("{name} has sound and picture again."),
        Reach { heard: true, hears: false } => {
            format!("{name} hears and sees nobody: nothing from the server arrives there.")
        }
        Reach { heard: false, .. } => {
            format!("{name} has no sound or picture: nothing from {name} reaches the server.")
        }
    })
}

/// The same in a few words beside a name; `None` where all is well.
pub(crate) fn mark(reach: Reach) -> Option<&'static str> {
    match reach {
        Reach { heard: true, hears: true } => None,
        Reach { heard: true, hears: false } => Some("hears nobody"),
        Reach { heard: false, .. } => Some("no sound or picture"),
    }
}

/// Our own, in a line that stays for as long as it is so; `None` where all is well.
#[cfg(feature = "gui")]
pub(crate) fn own(reach: Reach) -> Option<&'static str> {
    match reach {
        Reach { heard: true, hears: true } => None,
        Reach { hears: false, .. } => Some("No sound, picture, chat or files: nothing comes from the server over UDP"),
        Reach { heard: false, hears: true } => {
            Some("Nobody hears or sees you: nothing of yours reaches the server over UDP")
        }
    }
}
