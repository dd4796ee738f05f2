use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quorate_control::topology::{
    ClusterId, Epoch, Keyspace, KeyspaceId, NodeInfo, Placement, Replication, SplitPolicy, Timing,
    Topology, User,
};
use quorate_crdt::NodeId;
use quorate_dynamo::Consistency;
use quorate_dynamo::fence::Claim;
use quorate_dynamo::op::{
    Answer, Expiry, Kind, Mutation, Op, PartitionOp, Query, Receipt, Reply, Request, RequestError,
};
use quorate_dynamo::protocol::RequestId;
use quorate_dynamo::saved::{PageEnd, SavedKey};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;
use crate::config::Secret;
use crate::doors::{
    AdminError, Coordinator, Explanation, GroupDoor, KeyspaceChange, KeyspacePlan, KeyspaceSpec,
    LoneCoordinator, Lost, Member, NodePlan, NodeState, Pending, PlannedMoves, Printable, Room,
    Shortfall, Status, TokenInfo, UserChange,
};
use crate::faces::gate::Gate;
use crate::limits::Guests;
use consensus::FakeGroup;

/// A node that keeps strings in a map and fails for the keys `late` and `apart`; it remembers what
/// it was asked.
struct Fake {
    ready: bool,
    shortfall: Mutex<Option<Shortfall>>,
    map: Mutex<BTreeMap<Bytes, Bytes>>,
    asked: Mutex<Vec<Request>>,
    /// What was administered.
    done: Mutex<Vec<String>>,
    users: Mutex<BTreeMap<Arc<str>, User>>,
    coordinator: LoneCoordinator,
}

/// Not UTF-8.
const BYTES: Bytes = Bytes::from_static(b"\xff");

fn now<T>(value: T) -> Pending<T> {
    let (sender, receiver) = oneshot::channel();
    assert!(sender.send(value).is_ok());
    receiver
}

impl Fake {
    fn answer(&self, op: Op) -> Result<Reply, RequestError> {
        let mut map = self.map.lock().unwrap();
        let level = Consistency::Quorum;
        match op {
            Op::Query(key, _) if &key[..] == b"apart" => Err(RequestError::Unavailable {
                level,
                required: 2,
                alive: 1,
                missing: vec![NodeId(2)],
            }),
            Op::Mutate(key, _) if &key[..] == b"late" => Err(RequestError::TimedOut {
                level,
                acked: 1,
                required: 2,
                missing: vec![NodeId(2)],
                may_be_applied: true,
            }),
            Op::Query(key, Query::Get) => {
                Ok(map.get(&key).cloned().map_or(Reply::Nil, Reply::Value))
            }
            Op::Query(key, Query::Kind) => Ok(Reply::Kind(match &key[..] {
                b"a-set" => Some(Kind::Set),
                b"a-hash" => Some(Kind::Hash),
                _ => map.contains_key(&key).then_some(Kind::String),
            })),
            Op::Query(_, Query::Members) => Ok(Reply::List(vec!["one".into(), BYTES])),
            Op::Query(_, Query::Entries) => Ok(Reply::Pairs(vec![("field".into(), BYTES)])),
            Op::Query(key, Query::Expiry) => Ok(Reply::Expiry(match &key[..] {
                b"a-hash" => Expiry::At(77),
                _ => Expiry::Never,
            })),
            Op::Query(key, Query::Siblings) => Ok(Reply::Siblings {
                token: Bytes::from_static(b"\x01\xff"),
                values: map.get(&key).cloned().into_iter().collect(),
            }),
            Op::Mutate(key, Mutation::Set { value, .. } | Mutation::SetWith { value, .. }) => {
                map.insert(key, value);
                Ok(Reply::Done)
            }
            Op::Mutate(key, Mutation::Delete) => {
                Ok(Reply::Integer(i64::from(map.remove(&key).is_some())))
            }
            Op::Partition(_, PartitionOp::Save { after, .. }) => Ok(Reply::Page {
                keys: vec![SavedKey {
                    key: "k".into(),
                    expiry: None,
                    rows: Vec::new(),
                }],
                next: after.is_none().then(|| {
                    Box::new(PageEnd {
                        key: "k".into(),
                        row: None,
                    })
                }),
            }),
            Op::Mutate(_, Mutation::Restore { rows, .. }) => {
                Ok(Reply::Integer(i64::try_from(rows.len()).unwrap()))
            }
            other => panic!("the face asked for {other:?}"),
        }
    }
}

impl Data for Fake {
    fn submit(&self, request: Request) -> Pending<Result<Answer, RequestError>> {
        self.asked.lock().unwrap().push(request.clone());
        now(self.answer(request.op).map(|reply| Answer {
            reply,
            receipt: None,
        }))
    }

    fn submit_into(
        &self,
        request: Request,
        _room: &Arc<Room>,
    ) -> Pending<Result<Answer, RequestError>> {
        self.submit(request)
    }

    fn wait(&self, _receipts: Vec<Receipt>, _replicas: u32, _timeout: Duration) -> Pending<u32> {
        now(0)
    }

    fn open_keyspace(&self, name: &str) -> Pending<Result<KeyspaceId, AdminError>> {
        unreachable!("nobody opens {name} over HTTP")
    }

    fn coordinator(&self) -> Arc<dyn Coordinator> {
        Arc::new(self.coordinator.clone())
    }

    fn topology(&self) -> Arc<Topology> {
        let node = |name: &str| NodeInfo {
            name: name.into(),
            datacenter: "oslo".into(),
            rack: "r1".into(),
            quic: "127.0.0.1:1".into(),
            key: quorate_crdt::PublicKey([0; 32]),
            next_key: None,
            voter: true,
            witness: false,
        };
        let replication = Replication::Fixed(BTreeMap::from([("oslo".into(), 1)]));
        let keyspace = Keyspace {
            name: "default".into(),
            replication,
            read: "ONE".into(),
            write: "QUORUM".into(),
            split: SplitPolicy::default(),
            placement: vec![Placement::stable(Epoch(1), vec![NodeId(1), NodeId(2)]); 2],
        };
        Arc::new(Topology {
            cluster: ClusterId(1),
            epoch: Epoch(1),
            nodes: BTreeMap::from([(NodeId(1), node("a")), (NodeId(2), node("b"))]),
            keyspaces: BTreeMap::from([(KeyspaceId(0), keyspace)]),
            users: self.users.lock().unwrap().clone(),
            timing: Timing::default(),
        })
    }

    fn node(&self) -> NodeId {
        NodeId(1)
    }

    fn status(&self) -> Pending<Status> {
        now(Status {
            epoch: 1,
            converged: true,
            ..Status::default()
        })
    }

    fn explain(&self, keyspace: KeyspaceId, key: Bytes) -> Pending<Option<Explanation>> {
        assert_eq!(keyspace, KeyspaceId(0));
        now(Some(Explanation {
            keyspace: "default".into(),
            key: Printable::of(&key),
            partition: 3,
            epoch: 1,
            moving_to: Vec::new(),
            replicas: Vec::new(),
            equal: true,
        }))
    }

    fn metrics(&self) -> String {
        "# TYPE up gauge\nup 1\n# EOF\n".to_owned()
    }

    fn ready(&self) -> bool {
        self.ready
    }

    fn shortfall(&self) -> Option<Shortfall> {
        self.shortfall.lock().unwrap().clone()
    }
}

/// Whoever administers `c` is told that it answers.
impl Admin for Fake {
    fn tokens(&self) -> Vec<TokenInfo> {
        vec![TokenInfo {
            id: "00000000000000ff".into(),
            uses_left: Some(2),
            expires: None,
        }]
    }

    fn revoke_token(&self, id: u64) -> Pending<Result<(), AdminError>> {
        self.done.lock().unwrap().push(format!("revoke {id:x}"));
        now(Ok(()))
    }

    fn alter_keyspace(
        &self,
        name: &str,
        change: KeyspaceChange,
    ) -> Pending<Result<(), AdminError>> {
        if name == "carts" {
            self.done.lock().unwrap().push(format!("{change:?}"));
            return now(Ok(()));
        }
        now(Err(AdminError::UnknownKeyspace(name.into())))
    }

    fn plan_keyspace(&self, plan: KeyspacePlan) -> Pending<Result<PlannedMoves, AdminError>> {
        let KeyspacePlan::Alter(name, _) = plan else {
            return now(Err(AdminError::Exists));
        };
        now(Ok(PlannedMoves {
            partitions: 64,
            moving: 43,
            bytes: 5 << 20,
            nodes: vec![NodePlan {
                node: format!("of {name}"),
                datacenter: "oslo".into(),
                partitions: 10,
                partitions_then: 53,
                receives: 43,
                bytes: 5 << 20,
            }],
        }))
    }

    fn drop_keyspace(&self, name: &str) -> Pending<Result<(), AdminError>> {
        if name == "default" {
            return now(Err(AdminError::DefaultKeyspace));
        }
        self.done.lock().unwrap().push(format!("drop {name}"));
        now(Ok(()))
    }

    fn members(&self) -> Pending<Vec<Member>> {
        now(vec![Member {
            name: "a".into(),
            datacenter: "oslo".into(),
            rack: "r1".into(),
            address: "127.0.0.1:1".into(),
            version: None,
            state: NodeState::Down,
            voter: true,
            down_since: Some(7),
            partitions: 3,
            leaving: false,
            drained: true,
            witness: false,
        }])
    }

    fn remove_node(&self, name: &str, lost: Lost) -> Pending<Result<(), AdminError>> {
        if name == "c" && lost == Lost::Yes {
            return now(Err(AdminError::NotLost(name.into())));
        }
        self.done
            .lock()
            .unwrap()
            .push(format!("remove {name} {lost:?}"));
        now(Ok(()))
    }

    fn drain_node(&self, name: &str, drained: bool) -> Pending<Result<(), AdminError>> {
        self.done
            .lock()
            .unwrap()
            .push(format!("drain {name} {drained}"));
        now(Ok(()))
    }

    fn change_key(&self) -> Pending<Result<quorate_crdt::PublicKey, AdminError>> {
        self.done.lock().unwrap().push("change key".to_owned());
        now(Ok(quorate_crdt::PublicKey([0xAB; 32])))
    }

    fn change_user(&self, name: &str, change: UserChange) -> Pending<Result<(), AdminError>> {
        if name == "nobody" {
            return now(Err(AdminError::UnknownUser(name.into())));
        }
        self.done.lock().unwrap().push(format!("{name} {change:?}"));
        now(Ok(()))
    }

    fn group(&self, name: &str) -> Option<Arc<dyn GroupDoor>> {
        (name == "topology").then(|| Arc::new(FakeGroup) as Arc<dyn GroupDoor>)
    }

    fn create_token(&self, uses: u32, expires: Duration) -> Pending<Result<String, AdminError>> {
        now(if uses == 0 {
            Err(AdminError::BadToken)
        } else {
            Ok(format!("t{uses}-{}", expires.as_secs()))
        })
    }

    fn create_keyspace(&self, spec: KeyspaceSpec) -> Pending<Result<KeyspaceId, AdminError>> {
        now(if &*spec.name == "default" {
            Err(AdminError::Exists)
        } else {
            Ok(KeyspaceId(spec.partitions.unwrap_or(1).into()))
        })
    }
}

struct Server {
    address: SocketAddr,
    fake: Arc<Fake>,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

struct HttpReply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl HttpReply {
    fn document(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn start(password: Option<&str>, ready: bool) -> Server {
    start_with(password, ready, Guests::new(100)).await
}

async fn start_with(password: Option<&str>, ready: bool, guests: Arc<Guests>) -> Server {
    start_patient(password, ready, guests, HEAD_TIME).await
}

async fn start_patient(
    password: Option<&str>,
    ready: bool,
    guests: Arc<Guests>,
    head: Duration,
) -> Server {
    let fake = Arc::new(Fake {
        ready,
        shortfall: Mutex::default(),
        map: Mutex::default(),
        asked: Mutex::default(),
        done: Mutex::default(),
        users: Mutex::default(),
        coordinator: LoneCoordinator::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let config = HttpConfig {
        gate: Gate::new(password.map(Secret::new)),
        tls: None,
        timeout: Duration::from_secs(3),
        guests,
        head,
    };
    let shutdown = async move { drop(stopped.await as Result<(), _>) };
    let served = tokio::spawn(serve(
        listener,
        Arc::clone(&fake) as _,
        Arc::clone(&fake) as _,
        config,
        shutdown,
    ));
    Server {
        address,
        fake,
        stop,
        served,
    }
}

impl Server {
    async fn call(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> HttpReply {
        let host = if headers.contains("Host:") {
            ""
        } else {
            "Host: localhost\r\n"
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8(answer[..end].to_vec())
            .unwrap()
            .to_ascii_lowercase();
        HttpReply {
            status: head[9..12].parse().unwrap(),
            head,
            body: answer[end + 4..].to_vec(),
        }
    }

    async fn get(&self, path: &str) -> HttpReply {
        self.call("GET", path, "", b"").await
    }
}

#[tokio::test]
async fn a_node_that_loads_lives_and_is_not_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move { drop(stopped.await as Result<(), _>) };
    let served = tokio::spawn(serve_loading(listener, Guests::new(1), None, shutdown));
    let ask = async |path: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    assert!(ask("/healthz").await.starts_with("HTTP/1.1 200 "));
    for path in ["/readyz", "/v1/status", "/v1/kv/default/k"] {
        let answer = ask(path).await;
        assert!(
            answer.starts_with("HTTP/1.1 503 ")
                && answer.contains("\"not_ready\"")
                && answer.contains("the node is loading its data"),
            "{answer}"
        );
    }
    stop.send(()).unwrap();
    served.await.unwrap();
}

#[tokio::test]
async fn every_answer_is_to_be_taken_for_what_its_type_says() {
    let server = start(None, true).await;
    for path in [
        "/healthz",
        "/v1/status",
        "/v1/kv/default/absent",
        "/nowhere",
    ] {
        let head = server.get(path).await.head;
        assert!(
            head.contains("x-content-type-options: nosniff"),
            "{path}: {head}"
        );
    }
}

#[tokio::test]
async fn a_plan_changes_nothing() {
    let server = start(None, true).await;
    let body = br#"{"replication": {"oslo": 3}}"#;
    let planned = server
        .call("PATCH", "/v1/keyspaces/carts?plan=true", "", body)
        .await;
    assert_eq!(planned.status, 200);
    let plan: PlannedMoves = serde_json::from_slice(&planned.body).unwrap();
    assert_eq!((plan.partitions, plan.moving), (64, 43));
    assert_eq!(plan.nodes[0].node, "of carts");
    assert!(
        server.fake.done.lock().unwrap().is_empty(),
        "nothing was proposed"
    );
    let unclear = server
        .call("PATCH", "/v1/keyspaces/carts?plan=maybe", "", body)
        .await;
    assert_eq!(unclear.status, 400);
    let taken = br#"{"name": "carts"}"#;
    let taken = server
        .call("POST", "/v1/keyspaces?plan=true", "", taken)
        .await;
    assert_eq!(taken.status, 409);
}

#[tokio::test]
async fn health_readiness_and_metrics() {
    let server = start(None, false).await;
    assert_eq!(server.get("/healthz").await.status, 200);
    let unready = server.get("/readyz").await;
    assert_eq!(
        (unready.status, unready.document()["code"].as_str()),
        (503, Some("not_ready"))
    );
    let open = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.3\r\n";
    for (accept, kind, end) in [
        ("", "text/plain; version=0.0.4", &b"up 1\n"[..]),
        (
            open,
            "application/openmetrics-text; version=1.0.0",
            b"# EOF\n",
        ),
    ] {
        let metrics = server.call("GET", "/metrics", accept, b"").await;
        let kind = format!("content-type: {kind}");
        assert!(metrics.head.contains(&kind), "{}", metrics.head);
        assert!(metrics.body.ends_with(end), "{kind}");
    }
    let ready = start(None, true).await;
    assert_eq!(ready.get("/readyz").await.status, 200);
    *ready.fake.shortfall.lock().unwrap() = Some(Shortfall {
        keyspace: "carts".into(),
        writes: true,
        level: Consistency::Quorum,
        required: 2,
        reached: 1,
    });
    let short = ready.get("/readyz").await;
    let document = short.document();
    assert_eq!(
        (short.status, document["code"].as_str()),
        (503, Some("not_ready"))
    );
    assert_eq!(
        document["detail"],
        "keyspace carts: writes at its default level QUORUM need 2 replicas, and 1 can be reached"
    );
    assert_eq!(server.get("/v1/status").await.document()["epoch"], 1);
}

#[tokio::test]
async fn values_are_bytes_and_keys_may_hold_anything() {
    let server = start(None, true).await;
    let value: Vec<u8> = (0..=255).collect();
    assert_eq!(
        server
            .call("PUT", "/v1/kv/default/a/b%00%ff", "", &value)
            .await
            .status,
        204
    );
    assert_eq!(
        server.fake.map.lock().unwrap().keys().next().unwrap(),
        &b"a/b\x00\xff"[..]
    );
    let got = server.get("/v1/kv/default/a/b%00%ff").await;
    assert_eq!((got.status, got.body), (200, value));
    assert_eq!(
        server
            .call("DELETE", "/v1/kv/default/a/b%00%ff", "", b"")
            .await
            .document()["removed"],
        true
    );
    assert_eq!(
        server
            .call("DELETE", "/v1/kv/default/a/b%00%ff", "", b"")
            .await
            .document()["removed"],
        false
    );
    let gone = server.get("/v1/kv/default/a/b%00%ff").await;
    assert_eq!(
        (gone.status, gone.document()["code"].as_str()),
        (404, Some("not_found"))
    );
    assert!(gone.head.contains("content-type: application/problem+json"));
}

#[tokio::test]
async fn the_level_and_the_timeout_reach_the_node() {
    let server = start(None, true).await;
    assert_eq!(
        server
            .get("/v1/kv/default/k?consistency=local_quorum&timeout=50ms")
            .await
            .status,
        404
    );
    assert_eq!(server.get("/v1/kv/default/k").await.status, 404);
    let asked = server.fake.asked.lock().unwrap();
    assert_eq!(
        (asked[0].consistency, asked[0].timeout),
        (Some(Consistency::LocalQuorum), Duration::from_millis(50))
    );
    assert_eq!(
        (asked[1].consistency, asked[1].timeout),
        (None, Duration::from_secs(3))
    );
    assert_eq!(
        (&*asked[0].datacenter, asked[0].keyspace),
        ("oslo", KeyspaceId(0))
    );
}

#[tokio::test]
async fn the_lock_of_a_request_reaches_the_node() {
    let server = start(None, true).await;
    let job = Claim::new(b"a=b", 7);
    for (method, fence, claim) in [
        ("PUT", "a%3Db=7", job),
        ("DELETE", "a=b=7;seq=3", job.numbered(3, 0)),
        ("GET", "a=b=7; seq=4; since=2", job.numbered(4, 2)),
    ] {
        let header = format!("Quorate-Fence: {fence}\r\n");
        server.call(method, "/v1/kv/default/k", &header, b"v").await;
        let asked = server.fake.asked.lock().unwrap();
        assert_eq!(asked.last().unwrap().claim, Some(claim), "{fence}");
    }
    for fence in [
        "job",
        "job=x",
        "job=0",
        "job=7;seq",
        "job=7;seq=1;since=2",
        "%zz=7",
    ] {
        let header = format!("Quorate-Fence: {fence}\r\n");
        let refused = server.call("GET", "/v1/kv/default/k", &header, b"").await;
        assert_eq!(
            (refused.status, refused.document()["code"].as_str()),
            (400, Some("bad_fence")),
            "{fence}"
        );
    }
}

#[tokio::test]
async fn the_name_of_a_change_reaches_the_node() {
    let server = start(None, true).await;
    assert_eq!(
        server
            .call("PUT", "/v1/kv/default/k", "Quorate-Request: once\r\n", b"v")
            .await
            .status,
        204
    );
    assert_eq!(
        server
            .call(
                "DELETE",
                "/v1/kv/default/k",
                "Quorate-Request: twice\r\n",
                b""
            )
            .await
            .status,
        200
    );
    let long = format!("Quorate-Request: {}\r\n", "x".repeat(33));
    let refused = server.call("PUT", "/v1/kv/default/k", &long, b"v").await;
    assert_eq!(
        (refused.status, refused.document()["code"].as_str()),
        (400, Some("bad_request_id"))
    );
    let names: Vec<_> = server
        .fake
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(|asked| asked.id.clone())
        .collect();
    assert_eq!(
        names,
        [&b"once"[..], &b"twice"[..]].map(|name| RequestId::new(name.into()))
    );
}

#[tokio::test]
async fn problems_say_what_is_now_true() {
    let server = start(None, true).await;
    let late = server.call("PUT", "/v1/kv/default/late", "", b"x").await;
    let document = late.document();
    assert_eq!(
        (late.status, document["code"].as_str()),
        (504, Some("timeout"))
    );
    assert_eq!(
        (
            &document["required"],
            &document["acked"],
            &document["may_be_applied"]
        ),
        (&2.into(), &1.into(), &true.into())
    );
    assert_eq!(document["missing"], serde_json::json!(["b@oslo"]));
    let apart = server.get("/v1/kv/default/apart").await;
    let document = apart.document();
    assert_eq!(
        (apart.status, document["code"].as_str()),
        (503, Some("not_quorate"))
    );
    assert_eq!(
        (&document["alive"], &document["may_be_applied"]),
        (&1.into(), &false.into())
    );
}

#[tokio::test]
async fn bad_requests_are_refused_before_the_node_is_asked() {
    let server = start(None, true).await;
    for (path, status, code) in [
        ("/v1/kv/other/k", 404, "no_keyspace"),
        ("/v1/kv/default/k?consistency=MOST", 400, "bad_parameter"),
        ("/v1/kv/default/k?timeout=5", 400, "bad_parameter"),
        ("/v1/kv/default/k?timeout=61s", 400, "bad_parameter"),
        ("/v1/kv/default/k?siblings=1", 400, "bad_parameter"),
        ("/v1/kv/default/k?levle=ONE", 400, "bad_parameter"),
        (
            "/v1/kv/default/k?timeout=1s&timeout=2s",
            400,
            "bad_parameter",
        ),
        ("/v1/kv/default/%zz", 400, "bad_path"),
        ("/v1/kv/default/", 400, "bad_path"),
        ("/v1/nothing", 404, "no_such_path"),
    ] {
        let reply = server.get(path).await;
        assert_eq!(
            (reply.status, reply.document()["code"].as_str()),
            (status, Some(code)),
            "{path}"
        );
    }
    assert_eq!(server.call("POST", "/v1/status", "", b"").await.status, 405);
    let token = server
        .call("PUT", "/v1/kv/default/k", "Quorate-Context: §\r\n", b"v")
        .await;
    assert_eq!(token.document()["code"], "bad_context");
    assert!(server.fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn siblings_and_their_context_go_around() {
    let server = start(None, true).await;
    assert_eq!(
        server
            .call("PUT", "/v1/kv/default/k", "", b"\xfe")
            .await
            .status,
        204
    );
    let read = server.get("/v1/kv/default/k?siblings=true").await;
    assert_eq!(
        read.document(),
        serde_json::json!({ "context": "Af8=", "values": ["/g=="] })
    );
    assert!(read.head.contains("quorate-context: af8="), "{}", read.head);
    assert_eq!(
        server
            .call("PUT", "/v1/kv/default/k", "Quorate-Context: Af8=\r\n", b"v")
            .await
            .status,
        204
    );
    let asked = server.fake.asked.lock().unwrap();
    let written = Mutation::SetWith {
        value: Bytes::from_static(b"v"),
        token: Bytes::from_static(b"\x01\xff"),
    };
    assert_eq!(
        asked.last().unwrap().op,
        Op::Mutate(Bytes::from_static(b"k"), written)
    );
}

#[tokio::test]
async fn nodes_tokens_and_keyspaces_are_administered_by_name() {
    let server = start(None, true).await;
    let nodes = server.get("/v1/nodes").await.document();
    assert_eq!(
        nodes,
        serde_json::json!({"nodes": [{
            "name": "a", "datacenter": "oslo", "rack": "r1", "address": "127.0.0.1:1",
            "version": null, "state": "down", "voter": true, "down_since": 7,
            "partitions": 3, "leaving": false, "drained": true, "witness": false,
        }]})
    );
    let tokens = server.get("/v1/tokens").await.document();
    assert_eq!(tokens["tokens"][0]["id"], "00000000000000ff");
    for (method, path, body, status) in [
        ("DELETE", "/v1/nodes/b", "", 202),
        ("DELETE", "/v1/nodes/b%2Fc?lost=true", "", 202),
        ("PATCH", "/v1/nodes/b", r#"{"drained":true}"#, 202),
        ("POST", "/v1/key", "", 200),
        ("DELETE", "/v1/tokens/00ff", "", 204),
        (
            "PATCH",
            "/v1/keyspaces/carts",
            r#"{"replication":"auto","read":"all"}"#,
            204,
        ),
        ("DELETE", "/v1/keyspaces/carts", "", 204),
    ] {
        let reply = server.call(method, path, "", body.as_bytes()).await;
        assert_eq!(reply.status, status, "{method} {path}");
    }
    assert_eq!(
        *server.fake.done.lock().unwrap(),
        [
            "remove b No",
            "remove b/c Yes",
            "drain b true",
            "change key",
            "revoke ff",
            "KeyspaceChange { replication: Some(Auto), read: Some(All), write: None, split: None }",
            "drop carts",
        ]
    );
    for (method, path, body, code) in [
        ("DELETE", "/v1/nodes/c?lost=true", "", "not_lost"),
        ("PATCH", "/v1/nodes/b", "{}", "bad_document"),
        ("DELETE", "/v1/tokens/xyz", "", "bad_token"),
        ("DELETE", "/v1/keyspaces/default", "", "default_keyspace"),
        ("PATCH", "/v1/keyspaces/x", "{}", "no_keyspace"),
        (
            "PATCH",
            "/v1/keyspaces/carts",
            r#"{"level":1}"#,
            "bad_document",
        ),
        (
            "PATCH",
            "/v1/keyspaces/carts",
            r#"{"replication":"all"}"#,
            "bad_document",
        ),
    ] {
        let refused = server.call(method, path, "", body.as_bytes()).await;
        assert_eq!(refused.document()["code"], code, "{method} {path}");
    }
    assert_eq!(
        server.get("/v1/keyspaces/default").await.document()["write"],
        "QUORUM"
    );
    assert_eq!(server.get("/v1/keyspaces/x").await.status, 404);
}

#[tokio::test]
async fn administration() {
    let server = start(None, true).await;
    let token = server
        .call("POST", "/v1/tokens", "", br#"{"uses":2,"expires_s":60}"#)
        .await;
    assert_eq!(
        (token.status, token.document()["token"].as_str()),
        (201, Some("t2-60"))
    );
    assert_eq!(
        server.call("POST", "/v1/tokens", "", b"").await.document()["token"],
        "t1-86400"
    );
    assert_eq!(
        server
            .call("POST", "/v1/tokens", "", br#"{"uses":0}"#)
            .await
            .document()["code"],
        "bad_token"
    );
    assert_eq!(
        server
            .call("POST", "/v1/tokens", "", br#"{"user":1}"#)
            .await
            .document()["code"],
        "bad_document"
    );
    let made = server
        .call(
            "POST",
            "/v1/keyspaces",
            "",
            br#"{"name":"carts","partitions":8,"write":"all"}"#,
        )
        .await;
    assert_eq!(
        (made.status, made.document()),
        (201, serde_json::json!({ "id": 8, "name": "carts" }))
    );
    let twice = server
        .call("POST", "/v1/keyspaces", "", br#"{"name":"default"}"#)
        .await;
    assert_eq!(
        (twice.status, twice.document()["code"].as_str()),
        (409, Some("exists"))
    );
    let list = server.get("/v1/keyspaces").await.document();
    assert_eq!(
        (
            &list[0]["name"],
            &list[0]["replication"]["oslo"],
            &list[0]["write"]
        ),
        (&"default".into(), &1.into(), &"QUORUM".into())
    );
}

#[tokio::test]
async fn a_password_guards_all_but_the_probes() {
    let server = start(Some("s3cret"), true).await;
    for open in ["/healthz", "/readyz"] {
        assert_eq!(server.get(open).await.status, 200, "{open}");
    }
    for path in [
        "/metrics",
        "/v1/status",
        "/v1/keyspaces",
        "/v1/kv/default/k",
    ] {
        let refused = server.get(path).await;
        assert_eq!(refused.status, 401, "{path}");
        assert!(
            refused.head.contains("www-authenticate: basic"),
            "{}",
            refused.head
        );
    }
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    for (value, status) in [
        ("Bearer s3cret".to_owned(), 200),
        (basic("default:s3cret"), 200),
        (basic(":s3cret"), 200),
        ("Bearer wrong".to_owned(), 401),
        (basic("default:wrong"), 401),
        (basic("any:s3cret"), 401),
        ("Bearer ".to_owned(), 401),
    ] {
        let reply = server
            .call(
                "GET",
                "/v1/status",
                &format!("Authorization: {value}\r\n"),
                b"",
            )
            .await;
        assert_eq!(reply.status, status, "{value}");
    }
}

#[tokio::test]
async fn web_pages_of_others_stay_out() {
    let server = start(None, true).await;
    for (headers, status) in [
        ("Host: evil.example:7380\r\n", 403),
        (
            "Host: localhost:7380\r\nOrigin: http://evil.example\r\n",
            403,
        ),
        ("Host: localhost:7380\r\nOrigin: null\r\n", 403),
        ("Host: localhost:7380\r\nOrigin: http://\u{e9}vil\r\n", 403),
        (
            "Host: localhost:7380\r\nOrigin: http://localhost:7380\r\n",
            200,
        ),
        ("Host: [::1]:7380\r\n", 200),
        ("Host: 192.0.2.1\r\n", 200),
    ] {
        assert_eq!(
            server.call("GET", "/v1/status", headers, b"").await.status,
            status,
            "{headers}"
        );
    }
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused() {
    let server = start(None, true).await;
    let document = vec![b' '; 64 * 1024 + 1];
    assert_eq!(
        server
            .call("POST", "/v1/tokens", "", &document)
            .await
            .document()["code"],
        "too_large"
    );
}

#[tokio::test(start_paused = true)]
async fn shutdown_cuts_what_does_not_end() {
    let server = start(None, true).await;
    // A request that is never finished keeps its connection open.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"PUT /v1/kv/default/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
        .await
        .unwrap();
    server.stop.send(()).unwrap();
    server.served.await.unwrap();
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "the listener is closed"
    );
}

#[tokio::test]
async fn one_client_too_many_is_told_so_whatever_face_the_others_are_at() {
    let guests = Guests::new(2);
    let server = start_with(None, true, Arc::clone(&guests)).await;
    let elsewhere = guests.admit().expect("there is room");
    let held = guests.admit().expect("there is room");
    let refused = server.get("/v1/kv/default/k").await;
    let document = refused.document();
    assert_eq!(
        (refused.status, document["code"].as_str()),
        (503, Some("too_many_clients"))
    );
    assert_eq!(document["may_be_applied"], false);
    drop(held);
    assert_eq!(server.get("/v1/keyspaces").await.status, 200);
    // A place is free again as soon as its connection has ended.
    while server.get("/v1/keyspaces").await.status != 200 {}
    drop(elsewhere);
}

#[tokio::test]
async fn who_watches_the_node_is_answered_when_all_places_are_taken() {
    let guests = Guests::new(1);
    let server = start_with(None, true, Arc::clone(&guests)).await;
    let taken = guests.admit().expect("there is room");
    for path in ["/healthz", "/readyz", "/metrics", "/v1/status"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    for (method, path) in [
        ("GET", "/v1/keyspaces"),
        ("PUT", "/v1/kv/default/k"),
        ("POST", "/v1/status"),
        ("GET", "/nothing"),
    ] {
        assert_eq!(
            server.call(method, path, "", b"").await.status,
            503,
            "{method} {path}"
        );
    }
    assert!(guests.refused() >= 8);
    drop(taken);
}

/// Half a head, with the limit of those who have a place and with the few places that are left for
/// probes.
#[tokio::test]
async fn half_a_head_holds_no_place_for_long() {
    let guests = Guests::new(1);
    let server = start_patient(None, true, Arc::clone(&guests), Duration::from_millis(50)).await;
    let mut halves = Vec::new();
    for _ in 0..20 {
        let mut half = TcpStream::connect(server.address).await.unwrap();
        half.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-")
            .await
            .unwrap();
        halves.push(half);
    }
    for mut half in halves {
        let mut rest = Vec::new();
        // Whatever it is told, it is sent away.
        let ended =
            tokio::time::timeout(Duration::from_secs(10), half.read_to_end(&mut rest)).await;
        drop(ended.expect("it is not left there"));
    }
    while guests.open() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.get("/v1/keyspaces").await.status, 200);
}

#[tokio::test]
async fn a_malformed_body_is_not_called_too_long() {
    let server = start(None, true).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"PUT /v1/kv/default/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("bad_body"),
        "{answer}"
    );
    assert!(server.fake.asked.lock().unwrap().is_empty());
}

/// The paths of the description, with a parameter in each brace.
fn described() -> Vec<(String, Vec<String>)> {
    let document: Value = serde_json::from_str(include_str!("openapi.json")).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let methods = |item: &Value| item.as_object().unwrap().keys().cloned().collect();
    paths
        .iter()
        .map(|(path, item)| (path.clone(), methods(item)))
        .collect()
}

#[tokio::test]
async fn the_description_has_every_path_and_method_and_no_other() {
    let routes: Vec<String> = guarded()
        .into_iter()
        .chain(open())
        .map(|(path, _)| path.replace("{*key}", "{key}"))
        .collect();
    let described = described();
    let mut named: Vec<&String> = described.iter().map(|(path, _)| path).collect();
    let mut known: Vec<&String> = routes.iter().collect();
    named.sort();
    known.sort();
    assert_eq!(named, known);
    let server = start(None, true).await;
    for (path, methods) in described {
        let address = path
            .replace("{keyspace}", "default")
            .replace("{name}", "a")
            .replace("{id}", "ff")
            .replace("{partition}", "0")
            .replace("{group}", "topology")
            .replace("{key}", "k");
        for method in ["get", "put", "post", "patch", "delete"] {
            let answer = server.call(&method.to_uppercase(), &address, "", b"").await;
            let is_described = methods.iter().any(|described| described == method);
            assert_eq!(answer.status != 405, is_described, "{method} {path}");
        }
    }
}

/// Every reference leads somewhere, and every schema and parameter is referred to.
#[tokio::test]
async fn the_description_refers_to_what_is_there() {
    let server = start(None, true).await;
    let document = server.get("/v1/openapi.json").await.document();
    let text = document.to_string();
    let mut referred: Vec<&str> = text
        .split("\"$ref\":\"#")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    for pointer in &referred {
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    referred.sort_unstable();
    referred.dedup();
    for kind in ["schemas", "parameters", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            let pointer = format!("/components/{kind}/{name}");
            assert!(referred.contains(&pointer.as_str()), "{pointer}");
        }
    }
}

#[tokio::test]
async fn every_type_can_be_read() {
    let server = start(None, true).await;
    server
        .call("PUT", "/v1/kv/default/text", "", "größe".as_bytes())
        .await;
    let typed = async |key: &str| {
        let answer = server
            .get(&format!("/v1/kv/default/{key}?typed=true"))
            .await;
        (answer.status, answer.document())
    };
    let expected =
        serde_json::json!({ "type": "string", "value": { "text": "größe" }, "expires": null });
    assert_eq!(typed("text").await, (200, expected));
    let members = serde_json::json!([{ "text": "one" }, { "base64": "/w==" }]);
    let expected = serde_json::json!({ "type": "set", "members": members, "expires": null });
    assert_eq!(typed("a-set").await, (200, expected));
    let fields =
        serde_json::json!([{ "field": { "text": "field" }, "value": { "base64": "/w==" } }]);
    let expected = serde_json::json!({ "type": "hash", "fields": fields, "expires": 77 });
    assert_eq!(typed("a-hash").await, (200, expected));
    assert_eq!(typed("none").await.0, 404);
    let both = server
        .get("/v1/kv/default/text?typed=true&siblings=true")
        .await;
    assert_eq!(both.status, 400);
}

#[tokio::test]
async fn a_key_is_explained() {
    let server = start(None, true).await;
    let explained = server.get("/v1/explain/default/a/b%ff").await;
    assert_eq!(explained.status, 200);
    assert_eq!(explained.document()["key"]["base64"], "YS9i/w==");
    let unknown = server.get("/v1/explain/carts/k").await;
    assert_eq!(unknown.document()["code"], "no_keyspace");
    assert_eq!(server.get("/v1/explain/default/").await.status, 400);
}

mod backup;
mod consensus;
mod users;

#[tokio::test]
async fn metadata_over_http() {
    let server = start(None, true).await;
    let path = "/v1/metadata/a%2Fb";
    assert_eq!(server.get(path).await.status, 404);
    let put = async |query: &str, body: &[u8]| {
        let path = format!("{path}{query}");
        server.call("PUT", &path, "", body).await
    };
    let first = put("?revision=0", b"\x00one").await;
    assert_eq!(first.status, 200);
    let revision = first.document()["revision"].as_u64().unwrap();
    let read = server.get(path).await;
    assert_eq!((read.status, &read.body[..]), (200, &b"\x00one"[..]));
    let header = format!("quorate-revision: {revision}");
    assert!(read.head.contains(&header), "{}", read.head);
    let differs = put("?revision=0", b"two").await;
    assert_eq!(differs.status, 412);
    assert_eq!(differs.document()["code"], "differs");
    assert_eq!(differs.document()["revision"], revision);
    assert_eq!(
        put(&format!("?revision={revision}"), b"two").await.status,
        200
    );
    for query in [
        "?level=lease",
        "?level=stale",
        "?level=stale&max_staleness=5s",
    ] {
        let read = server.get(&format!("{path}{query}")).await;
        assert_eq!((read.status, &read.body[..]), (200, &b"two"[..]), "{query}");
    }
    for query in [
        "?level=fresh",
        "?max_staleness=5s",
        "?level=stale&max_staleness=x",
    ] {
        assert_eq!(
            server.get(&format!("{path}{query}")).await.status,
            400,
            "{query}"
        );
    }
    assert_eq!(put("?revision=x", b"").await.status, 400);
    assert_eq!(put("", &vec![0; 70_000]).await.status, 413);
    let delete = async |query: &str| {
        let path = format!("{path}{query}");
        server.call("DELETE", &path, "", b"").await
    };
    assert_eq!(delete("?revision=1").await.status, 412);
    assert_eq!(delete("").await.document()["removed"], true);
    assert_eq!(delete("").await.document()["removed"], false);
    let gone = delete("?revision=1").await.document();
    assert_eq!(
        (&gone["code"], &gone["revision"]),
        (&"differs".into(), &Value::Null)
    );
}

#[tokio::test]
async fn locks_and_elections_over_http() {
    let server = start(None, true).await;
    let lock = async |body: &[u8]| server.call("POST", "/v1/locks/a%2Fb", "", body).await;
    let granted = lock(br#"{"ttl_ms":60000,"holder":"ann"}"#).await;
    assert_eq!(granted.status, 200);
    let token = granted.document()["token"].as_u64().unwrap();
    let refused = lock(br#"{"ttl_ms":60000,"wait_ms":5}"#).await;
    assert_eq!(refused.status, 409);
    let problem = refused.document();
    assert_eq!(problem["code"], "taken");
    assert_eq!(problem["holder"], "ann");
    assert_eq!(problem["position"], 1);
    let locks = server.get("/v1/locks?held_by=ann").await.document();
    assert_eq!(locks["locks"][0]["key"], "a/b");
    assert_eq!(locks["locks"][0]["token"], token);
    let none = server.get("/v1/locks?held_by=bob").await.document();
    assert_eq!(none["locks"].as_array().unwrap().len(), 0);
    let path = |token: u64| format!("/v1/locks/a%2Fb?token={token}");
    let renew = format!("/v1/locks/a%2Fb/renew?token={token}");
    assert_eq!(server.call("PUT", &renew, "", b"").await.status, 204);
    let wrong = server.call("DELETE", &path(token + 1), "", b"").await;
    assert_eq!(
        (wrong.status, &wrong.document()["code"]),
        (409, &"not_held".into())
    );
    assert_eq!(
        server.call("DELETE", &path(token), "", b"").await.status,
        204
    );
    assert_eq!(server.call("PUT", &renew, "", b"").await.status, 409);
    for body in [
        &b"{}"[..],
        br#"{"ttl_ms":0}"#,
        br#"{"ttl_ms":-1}"#,
        br#"{"ttl_ms":99999999999}"#,
        br#"{"ttl_ms":1000,"loud":true}"#,
    ] {
        assert_eq!(
            lock(body).await.status,
            400,
            "{}",
            String::from_utf8_lossy(body)
        );
    }
    assert_eq!(server.get("/v1/elections/e").await.status, 404);
    let campaign = br#"{"ttl_ms":60000,"value":"10.0.0.1"}"#;
    let led = server.call("POST", "/v1/elections/e", "", campaign).await;
    let token = led.document()["token"].as_u64().unwrap();
    let leader = server.get("/v1/elections/e").await.document();
    assert_eq!(
        leader,
        serde_json::json!({"value": "10.0.0.1", "token": token})
    );
    let resign = format!("/v1/elections/e?token={token}");
    assert_eq!(server.call("DELETE", &resign, "", b"").await.status, 204);
}
