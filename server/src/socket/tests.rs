//! The socket against a plain one of the test.

use std::net::Ipv4Addr;

use tokio::net::UdpSocket;

use super::*;

async fn pair() -> (DatagramSocket, UdpSocket) {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    peer.connect(socket.local_addr().unwrap()).await.unwrap();
    (DatagramSocket::new(socket).unwrap(), peer)
}

/// Pushes a group of datagrams, each filled with its number, the last one shorter by one byte.
fn push_group(socket: &mut DatagramSocket, to: SocketAddr, datagrams: usize, datagram_bytes: usize) {
    let room = socket.room().expect("nothing waits");
    for (number, datagram) in room.chunks_mut(datagram_bytes).take(datagrams).enumerate() {
        datagram.fill(number as u8);
    }
    socket.push(Transmit { to, bytes: datagrams * datagram_bytes - 1, datagram_bytes });
}

/// What the peer gets: the length and the first byte of each datagram.
async fn arrivals(peer: &UdpSocket, count: usize) -> Vec<(usize, u8)> {
    let mut arrived = Vec::new();
    let mut buffer = [0; 2_000];
    while arrived.len() < count {
        let length = peer.recv(&mut buffer).await.unwrap();
        arrived.push((length, buffer[0]));
    }
    arrived
}

async fn datagrams_come_in_batches(mut socket: DatagramSocket, peer: UdpSocket) {
    for length in [1, DATAGRAM_MAX_BYTES + 1, DATAGRAM_MAX_BYTES, 0, 4_000] {
        peer.send(&vec![7; length]).await.unwrap();
    }
    let mut lengths = Vec::new();
    while socket.statistics().datagrams_received < 5 {
        socket.readable().await;
        socket.receive().unwrap();
        lengths.extend(socket.received().map(|(_, datagram)| datagram.len()));
    }
    assert_eq!(lengths, [1, DATAGRAM_MAX_BYTES, 0]);
    assert_eq!(socket.statistics().oversized, 2);
    // A batch is given once.
    assert!(!socket.receive().unwrap());
    assert_eq!(socket.received().count(), 0);
    peer.send(&[9]).await.unwrap();
    socket.readable().await;
    socket.receive().unwrap();
    let from = peer.local_addr().unwrap();
    assert_eq!(socket.received().map(|(from, datagram)| (from, datagram[0])).collect::<Vec<_>>(), [(from, 9)]);
}

async fn groups_arrive_as_datagrams(mut socket: DatagramSocket, peer: UdpSocket) {
    let to = peer.local_addr().unwrap();
    push_group(&mut socket, to, 1, 100);
    push_group(&mut socket, to, 3, 500);
    push_group(&mut socket, to, 2, 500);
    push_group(&mut socket, to, 2, 300);
    assert!(socket.flush());
    let wanted = [(99, 0), (500, 0), (500, 1), (499, 2), (500, 0), (499, 1), (300, 0), (299, 1)];
    assert_eq!(arrivals(&peer, wanted.len()).await, wanted);
    assert_eq!(socket.statistics().datagrams_sent, wanted.len() as u64);
}

async fn what_has_no_way_to_go_is_counted(mut socket: DatagramSocket, peer: UdpSocket) {
    let to = peer.local_addr().unwrap();
    push_group(&mut socket, to, 1, 50);
    // An IPv4 socket has no way to an IPv6 address.
    push_group(&mut socket, "[::1]:9".parse().unwrap(), 2, 60);
    push_group(&mut socket, to, 1, 70);
    assert!(socket.flush());
    assert_eq!(arrivals(&peer, 2).await, [(49, 0), (69, 0)]);
    let statistics = socket.statistics();
    assert_eq!((statistics.datagrams_sent, statistics.send_dropped), (2, 2));
    let whole = socket.calls.group_datagrams();
    assert_eq!(socket.group_datagrams, whole, "one bad address takes groups from nobody");
}

/// With the best calls of this system, and with those that every system has.
async fn both_ways<F: Future<Output = ()>>(check: impl Fn(DatagramSocket, UdpSocket) -> F) {
    let (socket, peer) = pair().await;
    check(socket, peer).await;
    let (mut socket, peer) = pair().await;
    assert!(socket.calls.give_up_batches(&io::ErrorKind::Unsupported.into()) || cfg!(not(target_os = "linux")));
    socket.group_datagrams = socket.calls.group_datagrams();
    check(socket, peer).await;
}

#[tokio::test]
async fn datagrams_come_in_batches_and_one_that_is_too_long_is_dropped() {
    both_ways(datagrams_come_in_batches).await;
}

#[tokio::test]
async fn the_datagrams_of_groups_arrive_in_order() {
    both_ways(groups_arrive_as_datagrams).await;
}

#[tokio::test]
async fn a_group_that_has_no_way_to_go_is_counted_and_nothing_else() {
    both_ways(what_has_no_way_to_go_is_counted).await;
}

#[tokio::test]
async fn a_group_that_the_system_refuses_goes_datagram_by_datagram() {
    let (mut socket, peer) = pair().await;
    let to = peer.local_addr().unwrap();
    // More than the kernel divides at a time (`UDP_MAX_SEGMENTS` is 64 or 128), which it answers with EINVAL.
    const DATAGRAMS: usize = 200;
    push_group(&mut socket, to, DATAGRAMS, 2);
    push_group(&mut socket, to, 2, 30);
    assert!(socket.flush());
    let arrived = arrivals(&peer, DATAGRAMS + 2).await;
    assert!((0..DATAGRAMS - 1).all(|number| arrived[number] == (2, number as u8)));
    assert_eq!(arrived[DATAGRAMS - 1..], [(1, 199), (30, 0), (29, 1)]);
    assert_eq!(socket.statistics().send_dropped, 0);
}

#[tokio::test]
async fn one_flush_carries_a_group_for_everybody_in_a_full_room() {
    let (mut socket, peer) = pair().await;
    let to = peer.local_addr().unwrap();
    let mut groups = 0;
    while let Some(room) = socket.room() {
        assert!(room.len() >= DATAGRAM_MAX_BYTES);
        socket.push(Transmit { to, bytes: 40, datagram_bytes: 40 });
        groups += 1;
    }
    assert!(groups >= common::limits::ROOM_MEMBERS_MAX, "{groups}");
    assert!(socket.flush());
    assert_eq!(arrivals(&peer, groups).await.len(), groups);
    assert!(socket.room().is_some());
}

#[tokio::test]
async fn a_full_send_buffer_is_waited_for_until_there_is_room() {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut watched = Watched::new(socket).unwrap();
    // Loopback is never full, so the answer of a full buffer is made up; that there is room is true.
    let full = watched.write(|_| Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    assert_eq!(full.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    watched.writable().await;
    let to = Ipv4Addr::LOCALHOST;
    let sent = watched.write(|socket| socket.send_to(b"x", (to, socket.local_addr()?.port())));
    assert_eq!(sent.unwrap(), 1);
    watched.readable().await;
    assert_eq!(watched.read(|socket| socket.recv(&mut [0; 8])).unwrap(), 1);
}
