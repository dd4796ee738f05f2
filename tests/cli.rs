//! The built binary: what it prints where, and the exit codes that scripts rely on.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set up its servers has nothing else to say"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;

const STATUS: &str = concat!(
    r#"{"cluster":"00ff","epoch":7,"at_ms":1000,"leader":"a","control":{"term":1,"voters":1,"answering":1,"following":1},"#,
    r#""nodes":[{"name":"a","number":1,"datacenter":"oslo","rack":"r1","address":"10.0.0.1:7381","version":"0.1.0","state":"alive","#,
    r#""down_since":null,"voter":true,"leaving":false,"partitions":64}],"#,
    r#""keyspaces":[{"name":"default","partitions":64,"replication":{"oslo":1},"defaults":{"read":"ONE","write":"ONE","copies":1},"#,
    r#""rows":12,"recent":3,"residuals":0,"contexts_equal":true,"digests_equal":true,"lacking":[],"levels":[]}],"#,
    r#""ready":true,"converged":true}"#
);

fn quorate(line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command
        .args(line.split_whitespace())
        .env_remove("QUORATE_PASSWORD")
        .env_remove("QUORATE_HTTP")
        .env_remove("QUORATE_RESP")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Serves one connection: sends `reply` to each request that `read` takes from it. Returns all
/// requests at the end.
fn serve_once(
    read: fn(&mut BufReader<TcpStream>) -> Option<String>,
    reply: Option<String>,
) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut requests = Vec::new();
        let mut reader = BufReader::new(stream);
        while let Some(request) = read(&mut reader) {
            requests.push(request);
            match &reply {
                Some(reply) => reader.get_mut().write_all(reply.as_bytes()).unwrap(),
                None => reader.get_mut().shutdown(Shutdown::Both).unwrap(),
            }
        }
        requests
    });
    (address, served)
}

/// One RESP command, its words joined by blanks.
fn resp_command(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let words: usize = line.trim_start_matches('*').trim().parse().unwrap();
    let mut found = Vec::new();
    for _ in 0..words {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let mut word = vec![
            0;
            line.trim_start_matches('$')
                .trim()
                .parse::<usize>()
                .unwrap()
                + 2
        ];
        reader.read_exact(&mut word).unwrap();
        found.push(text(&word).trim_end().to_owned());
    }
    Some(found.join(" "))
}

/// One HTTP request: its first line, its `Authorization` header if there is one, and its body.
fn http_request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let lower = line.trim().to_ascii_lowercase();
        if lower.is_empty() {
            break;
        }
        if let Some(value) = lower.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        if lower.starts_with("authorization:") {
            line.trim().clone_into(&mut authorization);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Some(format!("{} {authorization} {}", first.trim(), text(&body)))
}

fn http_reply(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Runs a command against a RESP server that gives one answer (`None`: it hangs up). Returns the
/// exit code, stdout, and what the server was asked.
fn over_resp(line: &str, reply: Option<&str>) -> (Option<i32>, String, Vec<String>) {
    let (address, served) = serve_once(resp_command, reply.map(str::to_owned));
    let output = quorate(&format!("{line} --resp {address}"));
    (
        output.status.code(),
        text(&output.stdout).to_owned(),
        served.join().unwrap(),
    )
}

fn over_http(line: &str, reply: Option<String>) -> (Output, Vec<String>) {
    let (address, served) = serve_once(http_request, reply);
    let output = quorate(&format!("{line} --http {address}"));
    (output, served.join().unwrap())
}

#[test]
fn get_prints_the_value() {
    let (code, stdout, asked) = over_resp("get k", Some("$5\r\nhello\r\n"));
    assert_eq!(
        (code, stdout.as_str(), asked),
        (Some(0), "hello\n", vec!["GET k".to_owned()])
    );
    let (code, stdout, _) = over_resp("get k --output json", Some("$5\r\nhello\r\n"));
    assert_eq!(
        (code, stdout.as_str()),
        (Some(0), "{\"key\":\"k\",\"value\":\"hello\"}\n")
    );
    let (code, stdout, _) = over_resp("get k", Some("$-1\r\n"));
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    let (code, stdout, _) = over_resp("get k --output json", Some("$-1\r\n"));
    assert_eq!(
        (code, stdout.as_str()),
        (Some(1), "{\"key\":\"k\",\"value\":null}\n")
    );
}

#[test]
fn level_timeout_and_keyspace_reach_the_node() {
    let (code, stdout, asked) = over_resp(
        "put k v --consistency local_quorum --timeout 50ms --expires 2s",
        Some("+OK\r\n"),
    );
    assert_eq!((code, stdout.as_str()), (Some(0), "OK\n"));
    assert_eq!(asked, ["CL LOCAL_QUORUM,TIMEOUT=50ms SET k v PX 2000"]);
    let (_, _, asked) = over_resp(
        "incr k -5 --keyspace carts --password s3cret",
        Some(":7\r\n"),
    );
    assert_eq!(asked, ["AUTH s3cret", "SELECT carts", "INCRBY k -5"]);
    let (_, _, asked) = over_resp("incr k --request-id once --consistency one", Some(":8\r\n"));
    assert_eq!(asked, ["REQ once CL ONE INCRBY k 1"]);
    let (code, stdout, asked) = over_resp("del a b --output json", Some(":1\r\n"));
    assert_eq!((code, stdout.as_str()), (Some(0), "{\"removed\":2}\n"));
    assert_eq!(asked, ["DEL a", "DEL b"]);
}

#[test]
fn exit_codes_tell_what_is_now_true() {
    for (reply, code) in [
        (Some("-ERR something\r\n"), 1),
        (Some("-WRONGTYPE no\r\n"), 1),
        (Some("-NOTQUORATE QUORUM needs 2 replicas\r\n"), 3),
        (
            Some("-TIMEOUT QUORUM: 1 of 2 replicas answered in time\r\n"),
            4,
        ),
        (
            Some(
                "-REFUSED ALL: 1 of 3 replicas did their part; the write may have been applied\r\n",
            ),
            4,
        ),
        (
            Some("-REFUSED ALL: 1 of 3 replicas did their part; nothing was applied\r\n"),
            1,
        ),
        // The connection is lost after the write was sent.
        (None, 4),
    ] {
        assert_eq!(over_resp("incr k", reply).0, Some(code), "{reply:?}");
    }
    assert_eq!(
        over_resp("get k", None).0,
        Some(1),
        "a lost read leaves nothing in doubt"
    );
    assert_eq!(quorate("get k --resp 127.0.0.1:1").status.code(), Some(1));
    assert_eq!(quorate("status --http 127.0.0.1:1").status.code(), Some(1));
    assert_eq!(
        quorate("node token --http 127.0.0.1:1").status.code(),
        Some(1)
    );
    for usage in [
        "",
        "nothing",
        "get",
        "get k --consistency MOST",
        "put k v --timeout 5",
        "status --resp a:1",
        "bench --target x",
    ] {
        let output = quorate(usage);
        assert_eq!(
            (output.status.code(), output.stdout.is_empty()),
            (Some(2), true),
            "{usage}"
        );
    }
    assert_eq!(quorate("--help").status.code(), Some(0));
}

#[test]
fn status_prints_the_document() {
    let (output, asked) = over_http(
        "status --output json --password s3cret",
        Some(http_reply("200 OK", "application/json", STATUS)),
    );
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), format!("{STATUS}\n").as_str())
    );
    assert_eq!(
        asked,
        ["GET /v1/status HTTP/1.1 authorization: Bearer s3cret "]
    );
    let (output, _) = over_http(
        "status",
        Some(http_reply("200 OK", "application/json", STATUS)),
    );
    assert!(
        text(&output.stdout).contains("converged  yes\n"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn status_waits_until_it_is_as_asked() {
    let document = || Some(http_reply("200 OK", "application/json", STATUS));
    for goal in ["ready", "converged"] {
        let (output, _) = over_http(&format!("status --wait {goal}"), document());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("ready      yes\n"));
    }
    let never = quorate("status --wait ready --timeout 300ms --http 127.0.0.1:1");
    assert_eq!(never.status.code(), Some(4));
    assert!(
        text(&never.stderr).starts_with("quorate: not ready within 300ms: 127.0.0.1:1: "),
        "{}",
        text(&never.stderr)
    );
    assert_eq!(quorate("status --wait tea").status.code(), Some(2));
}

#[test]
fn failures_are_documents_if_results_are() {
    let error = |output: &Output| -> serde_json::Value {
        assert!(output.stdout.is_empty());
        let document: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        document["error"].clone()
    };
    let refusal = r#"{"code":"not_quorate","detail":"why","may_be_applied":false}"#;
    let refused = Some(http_reply(
        "503 Service Unavailable",
        "application/problem+json",
        refusal,
    ));
    let (output, _) = over_http("keyspace create x --output json", refused);
    assert_eq!(
        error(&output),
        serde_json::json!({ "code": "not_quorate", "detail": "why", "exit_code": 3, "may_be_applied": false })
    );
    let (address, served) = serve_once(resp_command, None);
    let lost = error(&quorate(&format!("incr k --output json --resp {address}")));
    served.join().unwrap();
    assert_eq!(
        (&lost["code"], &lost["exit_code"], &lost["may_be_applied"]),
        (&"unanswered".into(), &4.into(), &true.into())
    );
    let usage = error(&quorate("get --output json"));
    assert_eq!(
        (&usage["code"], &usage["exit_code"]),
        (&"usage".into(), &2.into())
    );
}

#[test]
fn set_is_put() {
    let (code, stdout, asked) = over_resp("set k v", Some("+OK\r\n"));
    assert_eq!((code, stdout.as_str()), (Some(0), "OK\n"));
    assert_eq!(asked, ["SET k v"]);
}

#[test]
fn a_key_is_explained() {
    let document = r#"{"keyspace":"carts","key":{"text":"a b"},"partition":3,"epoch":1,"moving_to":[],"replicas":[],"equal":true}"#;
    let answer = || Some(http_reply("200 OK", "application/json", document));
    let (output, asked) = over_http("explain a/b --keyspace carts", answer());
    assert!(
        text(&output.stdout).starts_with("key        a b in carts\n"),
        "{}",
        text(&output.stdout)
    );
    assert_eq!(asked, ["GET /v1/explain/carts/a%2Fb HTTP/1.1  "]);
    let (output, _) = over_http("explain k --output json", answer());
    assert_eq!(text(&output.stdout), format!("{document}\n"));
}

#[test]
fn slow_commands_are_listed() {
    let reply = "*1\r\n*6\r\n:4\r\n:1764298000\r\n:15000\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n$9\r\n1.2.3.4:5\r\n$0\r\n\r\n";
    let (code, stdout, asked) = over_resp("slowlog 3", Some(reply));
    assert_eq!((code, asked), (Some(0), vec!["SLOWLOG GET 3".to_owned()]));
    assert!(
        stdout.ends_with("4   1764298000         15000         1.2.3.4:5  GET k\n"),
        "{stdout}"
    );
    let (_, stdout, _) = over_resp("slowlog --output json", Some(reply));
    assert_eq!(
        stdout,
        "[{\"id\":4,\"at\":1764298000,\"micros\":15000,\"command\":[{\"text\":\"GET\"},{\"text\":\"k\"}],\"client\":{\"text\":\"1.2.3.4:5\"}}]\n"
    );
    let (code, _, _) = over_resp("slowlog", Some("-ERR unknown command 'SLOWLOG'\r\n"));
    assert_eq!(code, Some(1));
}

#[test]
fn shells_and_manuals_get_their_files() {
    let completions = quorate("completions bash");
    assert!(text(&completions.stdout).contains("--consistency"));
    let directory = tempfile::tempdir().unwrap();
    let written = quorate(&format!("man {}", directory.path().display()));
    assert_eq!(written.status.code(), Some(0));
    let page = std::fs::read_to_string(directory.path().join("quorate-status.1")).unwrap();
    assert!(page.contains("wait"), "{page}");
}

#[test]
fn the_upgrade_page_shows_the_forms_of_this_version() {
    let said = quorate("--version").stdout;
    let page = include_str!("../docs/operations.md");
    assert!(
        page.contains(&format!("$ quorate --version\n{}", text(&said))),
        "docs/operations.md shows other forms than {}",
        text(&said)
    );
}

#[test]
fn a_token_is_all_that_stdout_gets() {
    let made = r#"{"token":"qt-1","uses":3,"expires_s":3600}"#;
    let (output, asked) = over_http(
        "node token --uses 3 --expires 1h",
        Some(http_reply("201 Created", "application/json", made)),
    );
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "qt-1\n")
    );
    assert_eq!(
        asked,
        [r#"POST /v1/tokens HTTP/1.1  {"expires_s":3600,"uses":3}"#]
    );
}

#[test]
fn keyspaces_are_made_and_listed() {
    let made = Some(http_reply(
        "201 Created",
        "application/json",
        r#"{"id":1,"name":"carts"}"#,
    ));
    let (output, asked) = over_http(
        "keyspace create carts --replication oslo=3,rome=2 --write LOCAL_QUORUM",
        made,
    );
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "created keyspace carts (SELECT carts)\n")
    );
    let body: serde_json::Value =
        serde_json::from_str(asked[0].split_once("  ").unwrap().1).unwrap();
    assert_eq!(
        body["replication"],
        serde_json::json!({ "oslo": 3, "rome": 2 })
    );
    assert_eq!(
        (&body["write"], &body["read"]),
        (&"LOCAL_QUORUM".into(), &serde_json::Value::Null)
    );
    let list = r#"[{"id":0,"name":"default","partitions":64,"replication":"auto","read":"ONE","write":"ONE","split":"available"}]"#;
    let (output, _) = over_http(
        "keyspace list",
        Some(http_reply("200 OK", "application/json", list)),
    );
    assert!(
        text(&output.stdout).contains("0       default  64          auto         ONE   ONE"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn keyspaces_are_altered_and_dropped() {
    let nothing = || Some("HTTP/1.1 204 No Content\r\n\r\n".to_owned());
    let (output, asked) = over_http(
        "keyspace alter carts --replication oslo=3,rome=2 --read QUORUM",
        nothing(),
    );
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "altered keyspace carts\n")
    );
    assert_eq!(
        asked,
        [
            r#"PATCH /v1/keyspaces/carts HTTP/1.1  {"read":"QUORUM","replication":{"oslo":3,"rome":2}}"#
        ]
    );
    let (output, asked) = over_http("keyspace drop a/b --output json", nothing());
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "{}\n")
    );
    assert_eq!(asked, ["DELETE /v1/keyspaces/a%2Fb HTTP/1.1  "]);
    for wrong in [
        "keyspace alter carts",
        "keyspace alter carts --replication oslo",
        "keyspace alter carts --replication oslo=1,oslo=2",
        "keyspace create carts --replication oslo=1,auto",
    ] {
        assert_eq!(quorate(wrong).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn a_removal_waits_until_the_node_is_out_and_refuses_what_answers() {
    let gone = || {
        Some(http_reply(
            "200 OK",
            "application/json",
            r#"{"nodes":[],"name":"c","state":"leaving"}"#,
        ))
    };
    let (output, asked) = over_http("node remove c", gone());
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "c is leaving\n")
    );
    assert_eq!(asked, ["DELETE /v1/nodes/c?lost=false HTTP/1.1  "]);
    let refusal = r#"{"code":"not_lost","detail":"c answers, so it is not lost"}"#;
    let (output, _) = over_http(
        "node remove c --lost --wait",
        Some(http_reply(
            "409 Conflict",
            "application/problem+json",
            refusal,
        )),
    );
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(1), "quorate: c answers, so it is not lost\n")
    );
    let (output, asked) = over_http("node drain c", gone());
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "c is being drained\n")
    );
    assert_eq!(asked, [r#"PATCH /v1/nodes/c HTTP/1.1  {"drained":true}"#]);
    let (output, asked) = over_http("node drain c --undo", gone());
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "c holds partitions again\n")
    );
    assert_eq!(asked, [r#"PATCH /v1/nodes/c HTTP/1.1  {"drained":false}"#]);
    let key = http_reply("200 OK", "application/json", r#"{"name":"c","key":"abab"}"#);
    let (output, asked) = over_http("node rotate-key", Some(key));
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "c has the key abab\n")
    );
    assert_eq!(asked, ["POST /v1/key HTTP/1.1  {}"]);
    let (output, _) = over_http("node list", gone());
    assert!(text(&output.stdout).starts_with("NODE"));
    let revoked = Some("HTTP/1.1 204 No Content\r\n\r\n".to_owned());
    let (_, asked) = over_http("node token revoke 00ff", revoked);
    assert_eq!(asked, ["DELETE /v1/tokens/00ff HTTP/1.1  "]);
}

#[test]
fn problems_become_exit_codes() {
    for (code, may_be_applied, exit) in [
        ("not_quorate", false, 3),
        ("timeout", true, 4),
        ("stopping", true, 4),
        ("bad_name", false, 1),
    ] {
        let problem =
            format!(r#"{{"code":"{code}","detail":"why","may_be_applied":{may_be_applied}}}"#);
        let (output, _) = over_http(
            "keyspace create x",
            Some(http_reply(
                "503 Service Unavailable",
                "application/problem+json",
                &problem,
            )),
        );
        assert_eq!(
            (output.status.code(), text(&output.stderr)),
            (Some(exit), "quorate: why\n"),
            "{code}"
        );
    }
    let (output, _) = over_http("keyspace create x", None);
    assert_eq!(
        output.status.code(),
        Some(4),
        "the request was sent and nothing came back"
    );
    let (output, _) = over_http("keyspace list", None);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn check_says_whether_promises_were_kept() {
    let directory = tempfile::tempdir().unwrap();
    let line = |process: u64, kind: &str, f: &str, value: &str, index: u64| {
        format!(
            r#"{{"process":{process},"type":"{kind}","f":"{f}","key":"k","value":{value},"time":{index},"index":{index}}}"#
        )
    };
    let history = |read: &str| {
        let lines = [
            line(0, "invoke", "write", "7", 0),
            line(0, "ok", "write", "7", 1),
            line(1, "invoke", "read", "null", 2),
        ];
        let file = directory.path().join("history.jsonl");
        std::fs::write(
            &file,
            format!("{}\n{}\n", lines.join("\n"), line(1, "ok", "read", read, 3)),
        )
        .unwrap();
        file.display().to_string()
    };
    let judged = |file: &str| {
        quorate(&format!(
            "check {file} --model register --min-operations 1 --min-overlaps 0 --min-faults 0"
        ))
    };
    let kept = judged(&history("7"));
    assert_eq!(
        (kept.status.code(), text(&kept.stdout)),
        (Some(0), "register: as promised, in 2 operations\n")
    );
    let broken = judged(&history("null"));
    assert_eq!(broken.status.code(), Some(1));
    let story = text(&broken.stdout);
    assert!(
        story.contains(
            "lost: process 1 reads nothing although 7 was known to process 0 before\nkey k\n"
        ),
        "{story}"
    );
    let json = quorate(&format!(
        "check {} --model register --output json --min-overlaps 0 --min-operations 0 --min-faults 0",
        history("null")
    ));
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&report["ok"], &report["operations"], &report["model"]),
        (&false.into(), &2.into(), &"register".into())
    );
    assert_eq!(
        report["counterexample"]["history"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
    // Too little, or no file: nothing was shown, and nobody is told that all is well.
    for arguments in [
        format!("check {} --model register", history("7")),
        "check /nowhere --model set".to_owned(),
    ] {
        let unusable = quorate(&format!("{arguments} --output json"));
        assert_eq!(unusable.status.code(), Some(2), "{arguments}");
        let report: serde_json::Value = serde_json::from_slice(&unusable.stdout).unwrap();
        assert_eq!(
            (&report["ok"], &report["counterexample"]),
            (&false.into(), &serde_json::Value::Null)
        );
    }
    assert_eq!(
        quorate(&format!("check {} --model stack", history("7")))
            .status
            .code(),
        Some(2)
    );
}

/// A node in its own process. It is killed if a test ends without stopping it.
struct Node {
    child: Child,
    stdout: BufReader<ChildStdout>,
    ready: serde_json::Value,
}

impl Node {
    fn start(data_dir: &std::path::Path, flags: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        let addresses = [
            "--resp",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--quic",
            "127.0.0.1:0",
        ];
        command
            .arg("start")
            .arg("--found")
            .arg("--data-dir")
            .arg(data_dir)
            .args(addresses)
            .args(flags.split_whitespace());
        let mut child = command
            .env_remove("QUORATE_PASSWORD")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let ready = serde_json::from_str(line.strip_prefix("ready ").unwrap()).unwrap();
        Self {
            child,
            stdout,
            ready,
        }
    }

    fn address(&self, face: &str) -> &str {
        self.ready[face].as_str().unwrap()
    }

    /// Sends SIGTERM. Returns the rest of stdout and the exit status.
    fn stop(mut self) -> (String, ExitStatus) {
        assert!(
            Command::new("kill")
                .arg(self.child.id().to_string())
                .status()
                .unwrap()
                .success()
        );
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_node_starts_serves_stops_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path(), "--node solo --datacenter oslo");
    let fields: Vec<&str> = node
        .ready
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        fields,
        [
            "cluster",
            "datacenter",
            "etcd",
            "http",
            "join_token",
            "node",
            "quic",
            "resp"
        ]
    );
    assert_eq!(
        (&node.ready["node"], &node.ready["datacenter"]),
        (&"solo".into(), &"oslo".into())
    );
    assert!(node.ready["join_token"].is_string());
    let put = quorate(&format!("put k v --resp {}", node.address("resp")));
    assert_eq!(put.status.code(), Some(0), "{}", text(&put.stderr));
    let status = quorate(&format!(
        "status --output json --http {}",
        node.address("http")
    ));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(
        (&status["cluster"], &status["nodes"][0]["state"]),
        (&node.ready["cluster"], &"alive".into())
    );
    let cluster = node.ready["cluster"].clone();
    let (rest, ended) = node.stop();
    assert_eq!((rest.as_str(), ended.code()), ("", Some(0)));

    let node = Node::start(directory.path(), "--node solo --datacenter oslo");
    assert_eq!(node.ready["cluster"], cluster);
    let get = quorate(&format!("get k --resp {}", node.address("resp")));
    assert_eq!(
        (get.status.code(), text(&get.stdout)),
        (Some(0), "v\n"),
        "{}",
        text(&get.stderr)
    );
}

#[test]
fn what_bench_records_of_a_healthy_node_is_as_promised() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(&directory.path().join("data"), "--node solo");
    let file = directory.path().join("history.jsonl").display().to_string();
    let flags = "--clients 8 --seconds 2 --rate 800 --level QUORUM --level ONE --output json";
    // The same node twice, each time as a separate target.
    let target = node.address("resp");
    let run = quorate(&format!(
        "bench --record {file} --target {target},{target} {flags}"
    ));
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert!(
        summary["done"].as_u64() > Some(200) && summary["refused"] == 0 && summary["unknown"] == 0,
        "{summary}"
    );
    assert!(summary["settled_s"].is_number(), "{summary}");
    for model in ["register", "set", "counter", "hash", "session"] {
        let verdict = quorate(&format!(
            "check {file} --model {model} --min-faults 0 --min-overlaps 0"
        ));
        assert_eq!(
            verdict.status.code(),
            Some(0),
            "{model}: {}{}",
            text(&verdict.stdout),
            text(&verdict.stderr)
        );
    }
    assert_eq!(
        quorate(&format!("check {file} --model register"))
            .status
            .code(),
        Some(2),
        "nothing went wrong, so nothing was shown"
    );

    // Without a level, each line records the one that the keyspace supplies.
    let run = quorate(&format!(
        "bench --record {file} --target {target} --clients 2 --seconds 1 --rate 200"
    ));
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
    let recorded = std::fs::read_to_string(&file).unwrap();
    let level =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["level"].clone();
    assert!(
        recorded
            .lines()
            .all(|line| level(line) == "LOCAL_QUORUM" || line.contains("final-read")),
        "{recorded}"
    );
    let verdict = quorate(&format!(
        "check {file} --model register --min-faults 0 --min-overlaps 0 --min-operations 10"
    ));
    assert_eq!(verdict.status.code(), Some(0), "{}", text(&verdict.stderr));
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let start = |flags: &str| {
        quorate(&format!(
            "start --data-dir {} --storage memory {flags}",
            directory.path().display()
        ))
    };
    for (flags, part) in [
        (
            "--resp 0.0.0.0:0",
            "--resp: resp = 0.0.0.0:0 can be reached from other machines: it needs TLS",
        ),
        ("--etcd 127.0.0.1:0", "does not serve the etcd protocol"),
        ("--token t", "--token: token needs join as well"),
        (
            "--found --join a:1",
            "--found: found and join contradict each other",
        ),
        (
            "--quic 0.0.0.0:0",
            "say which one they are to dial with advertise",
        ),
        ("--config /nowhere", "cannot read /nowhere"),
        (
            "--consistency ONE",
            "--consistency has no effect on this command",
        ),
    ] {
        let output = start(flags);
        assert!(
            text(&output.stderr).contains(part),
            "{}",
            text(&output.stderr)
        );
        assert_eq!(
            (output.status.code(), output.stdout.is_empty()),
            (Some(2), true),
            "{flags}"
        );
    }
    let output = start("--resp 127.0.0.1:0 --http 127.0.0.1:0");
    assert!(
        text(&output.stderr).contains("holds no node; to make a new cluster, start with --found"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = start(&format!(
        "--http 127.0.0.1:0 --resp {}",
        taken.local_addr().unwrap()
    ));
    assert!(
        text(&output.stderr).starts_with("quorate: cannot listen at 127.0.0.1:"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1));
}
