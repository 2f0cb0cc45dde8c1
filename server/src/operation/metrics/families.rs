//! Every figure by name: one line for each field of the statistics. A new field is a new line here.

use common::hub::HubStatistics;
use common::relay::RelayStatistics;

use super::page::Page;
use super::process;
use crate::statistics::{Health, ServerStatistics, SocketStatistics};

/// All figures of a server and of its process.
pub(super) fn page(statistics: &ServerStatistics) -> String {
    let mut page = Page::default();
    server(&mut page, statistics);
    door(&mut page, statistics);
    hub(&mut page, &statistics.hub);
    relay(&mut page, &statistics.relay);
    socket(&mut page, &statistics.socket);
    dropped(&mut page, &statistics.relay, &statistics.socket);
    process::write(&mut page);
    page.into_text()
}

fn server(page: &mut Page, server: &ServerStatistics) {
    page.info("conclave_build_info", "The version of this server.", "version", env!("CARGO_PKG_VERSION"));
    let draining = u8::from(server.health == Health::Draining);
    page.gauge("conclave_draining", "1 while the server takes no new rooms because it is to stop.", draining);
    page.gauge("conclave_rooms", "Rooms that are open.", server.rooms);
    page.gauge(
        "conclave_workers_overloaded",
        "Media workers that had to shed datagrams of late.",
        server.overloaded_workers,
    );
    page.gauge("conclave_members", "Members in all rooms.", server.members);
    page.gauge("conclave_control_connections", "Control connections that are open.", server.connections);
    page.counter(
        "conclave_control_connections_accepted_total",
        "Control connections that were accepted.",
        server.connections_accepted,
    );
    page.counter(
        "conclave_control_connections_refused_total",
        "Control connections that were closed at once because their source or the server had its fill.",
        server.connections_refused,
    );
}

/// Who is kept out, and what could not be taken in.
fn door(page: &mut Page, server: &ServerStatistics) {
    page.counter(
        "conclave_control_accepts_failed_total",
        "Accepts that failed for want of something, for example file descriptors.",
        server.accepts_failed,
    );
    let door = server.hub.door;
    page.counter("conclave_source_bans_total", "Times that a source was kept out for wrong codes.", door.bans);
    page.counter(
        "conclave_guessing_alerts_total",
        "Times that wrong codes began to come from many networks at once.",
        door.alerts,
    );
}

fn hub(page: &mut Page, hub: &HubStatistics) {
    page.counter("conclave_rooms_opened_total", "Rooms that were opened.", hub.rooms_opened);
    page.counter("conclave_knocks_total", "Guests that came to a door and were let wait.", hub.knocks);
    page.counter("conclave_admissions_total", "Guests that were let in by a host.", hub.admissions);
    page.counter(
        "conclave_member_connections_lost_total",
        "Control connections of members that broke; the members may have come back.",
        hub.connections_lost,
    );
    page.counter("conclave_resumptions_total", "Members that came back over another connection.", hub.resumptions);
    let refusals = hub.refusals.by_reason();
    page.counters("conclave_refusals_total", "Clients that did not get in, by reason.", "reason", refusals);
}

fn relay(page: &mut Page, relay: &RelayStatistics) {
    let (received, sent) = (relay.datagrams_received, relay.datagrams_sent);
    page.gauge("conclave_relay_members", "Members with a data plane.", relay.members);
    page.gauge(
        "conclave_relay_members_unheard",
        "Members with a data plane of whom no datagram came for three seconds.",
        relay.members_unheard,
    );
    page.counter("conclave_relay_datagrams_received_total", "Datagrams that came to the relay.", received);
    page.counter("conclave_relay_datagrams_sent_total", "Datagrams the relay gave to the socket.", sent);
    page.counter("conclave_messages_relayed_total", "Chat and file messages handed on.", relay.messages_relayed);
    page.counter(
        "conclave_messages_dropped_total",
        "Chat and file messages that went to nobody.",
        relay.messages_dropped,
    );
    page.gauge("conclave_spool_bytes", "Bytes of files on their way that are on the disk.", relay.spool_bytes);
    let (taken, handed) = (relay.file_bytes_received, relay.file_bytes_sent);
    page.counter("conclave_file_bytes_received_total", "Bytes of files taken from senders.", taken);
    page.counter("conclave_file_bytes_sent_total", "Bytes of files handed to receivers, once for each.", handed);
}

fn socket(page: &mut Page, socket: &SocketStatistics) {
    page.counter("conclave_datagrams_received_total", "Datagrams the socket received.", socket.datagrams_received);
    page.counter("conclave_datagrams_sent_total", "Datagrams the system took to send.", socket.datagrams_sent);
    page.counter("conclave_socket_receive_calls_total", "System calls that received datagrams.", socket.receive_calls);
    page.counter("conclave_socket_send_calls_total", "System calls that sent datagrams.", socket.send_calls);
    page.counter("conclave_socket_receive_errors_total", "Receives that failed.", socket.receive_errors);
    page.counter("conclave_socket_send_waits_total", "Sends that waited for a full buffer.", socket.send_waits);
}

/// Every way in which a datagram is lost inside this server.
fn dropped(page: &mut Page, relay: &RelayStatistics, socket: &SocketStatistics) {
    let reasons = [
        // Not a member's, does not open, seen before or malformed.
        ("discarded", relay.datagrams_discarded),
        ("oversized", socket.oversized),
        // Too late to be worth sending.
        ("shed_audio", relay.audio_shed),
        ("shed_video", relay.video_shed),
        // More of its kind than one member may send.
        ("throttled", relay.datagrams_throttled),
        // Four others were louder.
        ("unheard", relay.audio_unheard),
        // The system did not take it.
        ("unsendable", socket.send_dropped),
    ];
    page.counters("conclave_datagrams_dropped_total", "Datagrams that were dropped, by reason.", "reason", reasons);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names() -> BTreeSet<String> {
        let page = page(&ServerStatistics::default());
        let typed = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        typed.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }

    #[test]
    fn names_follow_the_conventions_and_stand_once() {
        let page = page(&ServerStatistics::default());
        for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            assert!(name.starts_with("conclave_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        }
        assert_eq!(page.matches("# TYPE ").count(), names().len());
    }

    #[test]
    fn each_family_has_its_figure_right_below() {
        let statistics = ServerStatistics { rooms: 7, ..ServerStatistics::default() };
        assert!(page(&statistics).contains("# TYPE conclave_rooms gauge\nconclave_rooms 7\n"));
    }

    #[test]
    fn the_dashboard_and_the_guide_for_operators_use_names_that_exist() {
        let names = names();
        let dashboard = include_str!("../../../../docs/grafana/conclave.json");
        serde_json::from_str::<serde_json::Value>(dashboard).unwrap();
        for text in [dashboard, include_str!("../../../../docs/OPERATING.md")] {
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let used: BTreeSet<_> =
                words.filter(|word| word.starts_with("conclave_") || word.starts_with("process_")).collect();
            assert!(used.len() > 10, "figures are shown");
            for word in used {
                assert!(names.contains(word), "no figure is called {word}");
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_guide_for_operators_has_every_figure() {
        let guide = include_str!("../../../../docs/OPERATING.md");
        for name in names() {
            assert!(guide.contains(&format!("`{name}`")) || guide.contains(&format!("`{name}{{")), "{name}");
        }
    }
}
