use quorate_control::topology::Role;

use super::*;
use crate::password;

/// A server with these users: name, password, role in every keyspace, role in `default`.
async fn with_users(
    own: Option<&str>,
    users: &[(&str, &str, Option<Role>, Option<Role>)],
) -> Server {
    let server = start(own, true).await;
    for (name, text, everywhere, in_default) in users {
        let user = User {
            since: Epoch(1),
            password: password::hash(text.as_bytes(), [1; 16]).unwrap(),
            everywhere: *everywhere,
            keyspaces: in_default
                .map(|role| (KeyspaceId(0), role))
                .into_iter()
                .collect(),
        };
        server
            .fake
            .users
            .lock()
            .unwrap()
            .insert((*name).into(), user);
    }
    server
}

fn basic(pair: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(pair))
}

async fn status(server: &Server, method: &str, path: &str, headers: &str) -> u16 {
    server.call(method, path, headers, b"{}").await.status
}

#[tokio::test]
async fn a_user_gets_what_the_role_says() {
    let server = with_users(
        None,
        &[
            ("root", "root's own", Some(Role::Admin), None),
            ("ann", "correct horse", None, Some(Role::Write)),
            ("eve", "battery staple", Some(Role::Read), None),
        ],
    )
    .await;
    let (root, ann, eve) = (
        basic("root:root's own"),
        basic("ann:correct horse"),
        basic("eve:battery staple"),
    );
    for (method, path, expected) in [
        ("GET", "/v1/status", [200, 200, 200]),
        ("PUT", "/v1/kv/default/k", [204, 204, 403]),
        ("GET", "/v1/kv/default/k", [200, 200, 200]),
        ("GET", "/v1/users", [200, 403, 403]),
        ("DELETE", "/v1/tokens/ff", [204, 403, 403]),
        ("DELETE", "/v1/keyspaces/carts", [204, 403, 403]),
    ] {
        let told = [
            status(&server, method, path, &root).await,
            status(&server, method, path, &ann).await,
            status(&server, method, path, &eve).await,
        ];
        assert_eq!(told, expected, "{method} {path}");
        assert_eq!(status(&server, method, path, "").await, 401, "{path}");
    }
    let refused = server.call("PUT", "/v1/kv/default/k", &eve, b"v").await;
    let document = refused.document();
    assert_eq!(document["code"], "forbidden");
    assert!(
        document["detail"]
            .as_str()
            .unwrap()
            .starts_with("user eve may not do this: it takes the role write in this keyspace"),
        "{document}"
    );
}

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_administrative_act_is_logged_with_who_asked_and_what_came_of_it() {
    let lines = Lines::default();
    let writer = lines.clone();
    let logger = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _until_the_end = tracing::subscriber::set_default(logger);
    let server = with_users(None, &[("root", "root's own", Some(Role::Admin), None)]).await;
    let root = basic("root:root's own");
    for (method, path) in [
        ("GET", "/v1/users"),
        ("PUT", "/v1/kv/default/k"),
        ("DELETE", "/v1/tokens/ff"),
        ("DELETE", "/v1/keyspaces/default"),
    ] {
        status(&server, method, path, &root).await;
    }
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let acts: Vec<&str> = text.lines().filter(|line| line.contains("audit")).collect();
    assert_eq!(acts.len(), 2, "{text}");
    for (line, act, outcome) in [
        (acts[0], "DELETE /v1/tokens/ff", 204),
        (acts[1], "DELETE /v1/keyspaces/default", 409),
    ] {
        for part in [
            "user=\"root\"",
            "from=127.0.0.1:",
            &format!("act=\"{act}\""),
            &format!("outcome={outcome}"),
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }
}

#[tokio::test]
async fn the_nodes_password_and_a_users_are_bearer_tokens_too() {
    let server = with_users(
        Some("s3cret"),
        &[("ann", "correct horse", Some(Role::Admin), None)],
    )
    .await;
    for (token, expected) in [
        ("s3cret", 200),
        ("ann:correct horse", 200),
        ("ann:s3cret", 401),
        ("ann", 401),
        ("bob:correct horse", 401),
    ] {
        let header = format!("Authorization: Bearer {token}\r\n");
        assert_eq!(
            status(&server, "GET", "/v1/users", &header).await,
            expected,
            "{token}"
        );
    }
}

#[tokio::test]
async fn users_are_made_changed_listed_and_dropped() {
    let server = with_users(None, &[]).await;
    let made = br#"{"name":"ann","password":"correct horse","role":"write","keyspace":"default"}"#;
    assert_eq!(server.call("POST", "/v1/users", "", made).await.status, 201);
    for (body, expected) in [
        (&br#"{"role":"none"}"#[..], 204),
        (br#"{"password":"another one"}"#, 204),
        (br#"{"password":"another one","role":"read"}"#, 400),
        (br#"{"keyspace":"default"}"#, 400),
        (br#"{"role":"king"}"#, 400),
    ] {
        let reply = server.call("PATCH", "/v1/users/ann", "", body).await;
        assert_eq!(reply.status, expected, "{}", String::from_utf8_lossy(body));
    }
    assert_eq!(status(&server, "DELETE", "/v1/users/ann", "").await, 204);
    assert_eq!(status(&server, "DELETE", "/v1/users/nobody", "").await, 404);
    assert_eq!(
        *server.fake.done.lock().unwrap(),
        [
            "ann Create { password: Secret(…), role: RoleIn { role: Some(Write), keyspace: Some(\"default\") } }",
            "ann Grant(RoleIn { role: None, keyspace: None })",
            "ann Password(Secret(…))",
            "ann Drop",
        ]
    );
    let server = with_users(
        Some("s3cret"),
        &[("ann", "correct horse", None, Some(Role::Read))],
    )
    .await;
    let listed = server
        .call("GET", "/v1/users", "Authorization: Bearer s3cret\r\n", b"")
        .await;
    assert_eq!(
        String::from_utf8(listed.body).unwrap(),
        r#"{"users":[{"keyspaces":{"default":"read"},"name":"ann","role":null}]}"#
    );
}

/// One connection that stays open.
struct Kept(TcpStream);

impl Kept {
    async fn status(&mut self, headers: &str) -> u16 {
        let head = format!("GET /v1/keyspaces HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        self.0.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        loop {
            self.0.read_buf(&mut answer).await.unwrap();
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                return head[9..12].parse().unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_connection_proves_once_who_it_is_and_only_as_long_as_the_user_exists() {
    let server = with_users(None, &[("ann", "correct horse", Some(Role::Admin), None)]).await;
    let mut kept = Kept(TcpStream::connect(server.address).await.unwrap());
    let right = basic("ann:correct horse");
    assert_eq!(kept.status(&right).await, 200);
    // Another password under the same `since` would be refused if it were compared again.
    let change = |change: fn(&mut User)| {
        server
            .fake
            .users
            .lock()
            .unwrap()
            .values_mut()
            .for_each(change);
    };
    change(|user| user.password = password::hash(b"another one", [2; 16]).unwrap());
    assert_eq!(kept.status(&right).await, 200, "it was proved before");
    assert_eq!(kept.status(&basic("ann:wrong")).await, 401);
    assert_eq!(
        kept.status(&right).await,
        200,
        "a wrong one changes nothing"
    );
    assert_eq!(kept.status("").await, 401, "nobody is nobody");
    change(|user| user.since = Epoch(2));
    assert_eq!(kept.status(&right).await, 401, "the password is a new one");
}
