//! Replies as a person reads them.

use std::fmt;

use super::{MemberLine, Reply, RoomLine, Status};

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => Ok(()),
            Self::Forgiven { sources: 0 } => writeln!(f, "Nobody was kept out for wrong codes."),
            Self::Forgiven { sources: 1 } => writeln!(f, "1 source may try codes again."),
            Self::Forgiven { sources } => writeln!(f, "{sources} sources may try codes again."),
            Self::Members(members) => members_table(f, members),
            Self::Refused(sentence) => writeln!(f, "{sentence}"),
            Self::Rooms(rooms) if rooms.is_empty() => writeln!(f, "There are no rooms."),
            Self::Rooms(rooms) => rooms_table(f, rooms),
            Self::Status(status) => status.fmt(f),
        }
    }
}

fn rooms_table(f: &mut fmt::Formatter<'_>, rooms: &[RoomLine]) -> fmt::Result {
    writeln!(f, "{:>6} {:>8} {:>9} {:>10}  LOCKED", "ROOM", "MEMBERS", "KNOCKING", "AGE")?;
    for line in rooms {
        let RoomLine { room, members, knocking, age_secs, locked } = line;
        let age = Age(*age_secs).to_string();
        writeln!(f, "{room:>6} {members:>8} {knocking:>9} {age:>10}  {}", yes(*locked))?;
    }
    Ok(())
}

fn members_table(f: &mut fmt::Formatter<'_>, members: &[MemberLine]) -> fmt::Result {
    writeln!(
        f,
        "{:>6} {:>10}  {:<4}  {:<6}  {:<10}  {:<4}  {:<3}  NAME",
        "MEMBER", "AGE", "HOST", "CAMERA", "MICROPHONE", "AWAY", "UDP"
    )?;
    for line in members {
        let age = Age(line.age_secs).to_string();
        let (host, camera, microphone) = (yes(line.host), yes(line.camera), yes(line.microphone));
        let (member, away, udp, name) = (line.member, yes(line.away), yes(line.datagrams), &line.name);
        writeln!(f, "{member:>6} {age:>10}  {host:<4}  {camera:<6}  {microphone:<10}  {away:<4}  {udp:<3}  {name}")?;
    }
    Ok(())
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at {}, version {}, for {}", self.health, self.listen, self.version, Age(self.uptime_secs))?;
        let files = self.files_max.map_or(String::new(), |files| format!(", {files} files may be open"));
        writeln!(f, "{} rooms, {} members, {} control connections{files}", self.rooms, self.members, self.connections)?;
        if self.sources_banned > 0 {
            let (sources, longest) = (self.sources_banned, Age(self.banned_for_secs));
            writeln!(f, "sources kept out for wrong codes: {sources}, for {longest} at most; see forgive")?;
        }
        if self.guessing {
            writeln!(f, "wrong codes come from many networks: each costs its source more")?;
        }
        if self.accepts_failed > 0 {
            writeln!(f, "{} times a connection could not be accepted; see the log", self.accepts_failed)?;
        }
        Ok(())
    }
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

/// Seconds, with the two largest units that say something.
struct Age(u64);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (minutes, hours, days) = (self.0 / 60, self.0 / 3_600, self.0 / 86_400);
        match self.0 {
            secs @ 0..60 => write!(f, "{secs} s"),
            secs @ 60..3_600 => write!(f, "{minutes} min {} s", secs % 60),
            3_600..86_400 => write!(f, "{hours} h {} min", minutes % 60),
            _ => write!(f, "{days} d {} h", hours % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units() {
        let said = [59, 61, 3_720, 90_000].map(|secs| Age(secs).to_string());
        assert_eq!(said, ["59 s", "1 min 1 s", "1 h 2 min", "1 d 1 h"]);
    }

    #[test]
    fn a_status_says_who_is_kept_out_and_what_could_not_be_accepted() {
        let calm = Status {
            version: "1.2.3".into(),
            health: "serving".into(),
            listen: "[::]:7878".into(),
            uptime_secs: 61,
            rooms: 2,
            members: 7,
            connections: 8,
            sources_banned: 0,
            banned_for_secs: 0,
            guessing: false,
            files_max: Some(1_048_576),
            accepts_failed: 0,
        };
        let head = "serving at [::]:7878, version 1.2.3, for 1 min 1 s\n\
                    2 rooms, 7 members, 8 control connections, 1048576 files may be open\n";
        assert_eq!(calm.to_string(), head);
        let troubled = Status { sources_banned: 3, banned_for_secs: 840, guessing: true, accepts_failed: 9, ..calm };
        let more = "sources kept out for wrong codes: 3, for 14 min 0 s at most; see forgive\n\
                    wrong codes come from many networks: each costs its source more\n\
                    9 times a connection could not be accepted; see the log\n";
        assert_eq!(troubled.to_string(), format!("{head}{more}"));
    }

    #[test]
    fn rooms_stand_below_their_headings() {
        let room = RoomLine { room: 12, members: 3, knocking: 1, age_secs: 3_720, locked: true };
        let lines = "  ROOM  MEMBERS  KNOCKING        AGE  LOCKED\n    12        3         1  1 h 2 min  yes\n";
        assert_eq!(Reply::Rooms(vec![room]).to_string(), lines);
        assert_eq!(Reply::Rooms(Vec::new()).to_string(), "There are no rooms.\n");
    }
}
