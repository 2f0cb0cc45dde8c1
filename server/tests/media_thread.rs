//! The media thread under many datagrams. One test alone in its program: it counts the threads of the process.

mod support;

#[cfg(target_os = "linux")]
#[tokio::test]
async fn seed_hole_no_thread_or_task_per_datagram() {
    use server::{Server, ServerConfig};
    use tokio::net::UdpSocket;

    const DATAGRAMS: u64 = 10_000;
    // Far fewer than fit the smallest receive buffer a system gives, so that none is lost.
    const AT_A_TIME: u64 = 50;

    let dir = support::StateDir::new();
    let server = Server::start(ServerConfig {
        listen: support::anywhere(),
        state_dir: dir.path().to_owned(),
        ..ServerConfig::default()
    })
    .await
    .unwrap();
    let stranger = UdpSocket::bind(support::anywhere()).await.unwrap();
    let received = || server.statistics().socket.datagrams_received;
    let send_all = async |from: u64, to: u64| {
        for sent in from + 1..=to {
            stranger.send_to(&[0x5a; 1_200], server.address()).await.unwrap();
            while sent.is_multiple_of(AT_A_TIME) && received() < sent {
                tokio::task::yield_now().await;
            }
        }
    };
    let send_all = |from, to| tokio::time::timeout(support::PATIENCE, send_all(from, to));

    send_all(0, AT_A_TIME).await.unwrap();
    let before = (threads(), tasks());
    let mut most = before;
    for round in 0..10 {
        let sent = |round: u64| AT_A_TIME + round * (DATAGRAMS / 10);
        send_all(sent(round), sent(round + 1)).await.unwrap();
        most = (most.0.max(threads()), most.1.max(tasks()));
    }
    assert_eq!(received(), AT_A_TIME + DATAGRAMS);
    assert_eq!(most, before, "threads and tasks");
    let answer = stranger.try_recv_from(&mut [0; 8]);
    assert!(answer.is_err(), "a stranger is answered by silence");
    server.stop().await;
}

#[cfg(target_os = "linux")]
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("Linux has it").count()
}

#[cfg(target_os = "linux")]
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
