//! The socket against a plain one of the test.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::*;

async fn pair() -> (DatagramSocket, UdpSocket) {
    let socket = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let peer = peer_of(socket.local_addr().unwrap()).await;
    (DatagramSocket::new(vec![socket]).unwrap(), peer)
}

fn bound(address: SocketAddr) -> std::net::UdpSocket {
    let socket = std::net::UdpSocket::bind(address).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// A socket that hears nothing but what comes from this address.
async fn peer_of(address: SocketAddr) -> UdpSocket {
    let peer = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    peer.connect(address).await.unwrap();
    peer
}

/// Pushes a group of datagrams, each filled with its number, the last one shorter by one byte.
fn push_group(socket: &mut DatagramSocket, to: SocketAddr, datagrams: usize, datagram_bytes: usize) {
    let room = socket.room().expect("nothing waits");
    for (number, datagram) in room.chunks_mut(datagram_bytes).take(datagrams).enumerate() {
        datagram.fill(number as u8);
    }
    socket.push(Transmit { to, from: None, bytes: datagrams * datagram_bytes - 1, datagram_bytes });
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
    assert_eq!(socket.received().map(|(path, datagram)| (path.remote, datagram[0])).collect::<Vec<_>>(), [(from, 9)]);
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
        socket.push(Transmit { to, from: None, bytes: 40, datagram_bytes: 40 });
        groups += 1;
    }
    assert!(groups >= common::limits::ROOM_MEMBERS_MAX, "{groups}");
    assert!(socket.flush());
    assert_eq!(arrivals(&peer, groups).await.len(), groups);
    assert!(socket.room().is_some());
}

#[tokio::test]
async fn a_full_send_buffer_is_waited_for_until_there_is_room() {
    let socket = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
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

/// The paths over which datagrams came, as many as there are.
async fn paths(socket: &mut DatagramSocket, count: usize) -> Vec<AddressPair> {
    let mut paths = Vec::new();
    while paths.len() < count {
        socket.readable().await;
        while socket.receive().unwrap() {
            paths.extend(socket.received().map(|(path, _)| path));
        }
        paths.extend(socket.received().map(|(path, _)| path));
    }
    paths
}

/// Two peers that ask two addresses of one server hear the answers, alone and in groups, and each hears its own.
async fn each_is_answered_from_the_address_it_asked(mut socket: DatagramSocket, port: u16) {
    let asked = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
    let mut peers = Vec::new();
    for address in asked {
        let peer = peer_of(SocketAddr::from((address, port))).await;
        peer.send(&[1]).await.unwrap();
        peers.push(peer);
    }
    let paths = paths(&mut socket, peers.len()).await;
    for _ in 0..2 {
        for path in &paths {
            for (datagrams, bytes) in [(1, 10), (3, 400)] {
                let room = socket.room().unwrap();
                room[..datagrams * bytes].fill(7);
                socket.push(Transmit {
                    to: path.remote,
                    from: path.local,
                    bytes: datagrams * bytes,
                    datagram_bytes: bytes,
                });
            }
        }
        assert!(socket.flush());
        // A peer that is answered from elsewhere hears nothing, and would wait here without end.
        for peer in &peers {
            assert_eq!(arrivals(peer, 4).await.len(), 4);
        }
    }
}

#[tokio::test]
async fn an_answer_leaves_from_the_address_that_was_asked() {
    for any in ["0.0.0.0:0", "[::]:0"] {
        for single in [false, true] {
            let opened = crate::listen::Sockets::open(any.parse().unwrap(), 1).unwrap();
            let mut socket = DatagramSocket::new(opened.udp.into_iter().next().unwrap()).unwrap();
            if single {
                socket.calls.give_up_batches(&io::ErrorKind::Unsupported.into());
                socket.group_datagrams = 1;
            }
            each_is_answered_from_the_address_it_asked(socket, opened.address.port()).await;
        }
    }
}

/// As it is where the system tells no destinations: the socket that a datagram comes to says which address was asked.
#[tokio::test]
async fn a_socket_for_each_address_answers_from_there() {
    let open = |address: SocketAddr| {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(std::net::UdpSocket::from(socket))
    };
    let any = open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
    let port = any.local_addr().unwrap().port();
    let listed = crate::every_address::open(any.local_addr().unwrap(), open);
    assert!(listed.iter().any(|own| own.local_addr().unwrap().ip().is_loopback()), "{listed:?}");
    let own = [2, 3].map(|last| open(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port))).unwrap());
    let socket = DatagramSocket::new([any].into_iter().chain(listed).chain(own).collect()).unwrap();
    each_is_answered_from_the_address_it_asked(socket, port).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_that_is_gone_does_not_keep_an_answer_from_leaving() {
    let opened = crate::listen::Sockets::open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), 1).unwrap();
    let mut socket = DatagramSocket::new(opened.udp.into_iter().next().unwrap()).unwrap();
    let peer = peer_of(SocketAddr::from((Ipv4Addr::LOCALHOST, opened.address.port()))).await;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, peer.local_addr().unwrap().port()));
    // TEST-NET-1 (RFC 5737), which this machine does not have.
    let from = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    for (datagrams, bytes) in [(1, 10), (3, 500), (2, 20)] {
        socket.room().unwrap()[..datagrams * bytes].fill(7);
        socket.push(Transmit { to, from, bytes: datagrams * bytes, datagram_bytes: bytes });
    }
    assert!(socket.flush());
    assert_eq!(arrivals(&peer, 6).await.len(), 6);
    assert_eq!((socket.statistics().datagrams_sent, socket.statistics().send_dropped), (6, 0));
    let whole = socket.calls.group_datagrams();
    assert_eq!(socket.group_datagrams, whole, "an address that is gone takes groups from nobody");
}
