use super::*;

#[tokio::test]
async fn vanished_clients_are_probed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    prepare(&stream, Duration::from_mins(5)).unwrap();
    assert!(stream.nodelay().unwrap());
    assert!(sockopt::socket_keepalive(stream.as_fd()).unwrap());
    assert_eq!(
        sockopt::tcp_keepidle(stream.as_fd()).unwrap(),
        Duration::from_mins(5)
    );
    assert_eq!(
        sockopt::tcp_keepintvl(stream.as_fd()).unwrap(),
        Duration::from_secs(100)
    );
    assert_eq!(sockopt::tcp_keepcnt(stream.as_fd()).unwrap(), 3);
    drop(client);
}
