//! Which right a request needs. What is not named here needs the right to administer the cluster,
//! so that a new path is closed until somebody has thought about it.

use axum::http::{HeaderMap, HeaderName, Method, Uri};
use quorate_control::topology::{DEFAULT_KEYSPACE, Right, Topology};

use super::uri;

/// The lock under which a request acts, with its fencing token.
pub(super) const FENCE: HeaderName = HeaderName::from_static("quorate-fence");

/// The right for a request. A keyspace that does not exist is the cluster's business: only who
/// administers it is told so. Under a lock, a read shuts out earlier holders and writes what it
/// finds once more, so it needs the right to write.
pub(super) fn needed(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    topology: &Topology,
) -> Right {
    let keyspace = |name: &str| topology.keyspace_named(name).map(|(id, _)| id);
    let looks = *method == Method::GET || *method == Method::HEAD;
    let path = uri.path();
    if let Some(prefix) = ["/v1/kv/", "/v1/explain/"]
        .into_iter()
        .find(|prefix| path.starts_with(prefix))
    {
        let named = uri::keyspace_and_key(uri, prefix).ok();
        let right = if looks && !headers.contains_key(FENCE) {
            Right::Read
        } else {
            Right::Write
        };
        return named
            .and_then(|(name, _)| keyspace(&name))
            .map_or(Right::Cluster, right);
    }
    // What is coordinated is of no keyspace: what holds in `default` holds for it.
    let coordinated = ["/v1/locks/", "/v1/elections/", "/v1/metadata/"];
    if path == "/v1/locks" || coordinated.iter().any(|prefix| path.starts_with(prefix)) {
        let right = if looks { Right::Read } else { Right::Write };
        return right(DEFAULT_KEYSPACE);
    }
    if let Some(name) = path.strip_prefix("/v1/keyspaces/")
        && !looks
    {
        return keyspace(name).map_or(Right::Cluster, Right::Administer);
    }
    let group = path.strip_prefix("/v1/consensus/");
    let group = group.map(|group| group.strip_suffix("/quorum").unwrap_or(group));
    if looks && group.is_some_and(|group| !group.contains('/')) {
        return Right::Look;
    }
    let shown = [
        "/metrics",
        "/v1/openapi.json",
        "/v1/status",
        "/v1/nodes",
        "/v1/keyspaces",
    ];
    if looks && (shown.contains(&path) || path.starts_with("/v1/keyspaces/")) {
        return Right::Look;
    }
    Right::Cluster
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use quorate_control::topology::{
        ClusterId, Epoch, Keyspace, KeyspaceId, Replication, SplitPolicy,
    };

    use super::*;

    #[test]
    fn every_path_needs_a_right_and_an_unknown_one_the_highest() {
        let keyspace = Keyspace {
            name: "carts".into(),
            replication: Replication::Auto,
            read: "ONE".into(),
            write: "ONE".into(),
            split: SplitPolicy::default(),
            placement: Vec::new(),
        };
        let carts = KeyspaceId(4);
        let topology = Topology {
            cluster: ClusterId(1),
            epoch: Epoch(1),
            nodes: BTreeMap::new(),
            keyspaces: BTreeMap::from([(carts, keyspace)]),
            users: BTreeMap::new(),
            timing: quorate_control::topology::Timing::default(),
        };
        for (method, path, right) in [
            (Method::GET, "/v1/kv/carts/k", Right::Read(carts)),
            (Method::HEAD, "/v1/kv/carts/a/b", Right::Read(carts)),
            (Method::PUT, "/v1/kv/carts/k", Right::Write(carts)),
            (Method::DELETE, "/v1/kv/carts/k", Right::Write(carts)),
            (Method::DELETE, "/v1/kv/c%61rts/k", Right::Write(carts)),
            (Method::GET, "/v1/explain/carts/k", Right::Read(carts)),
            (Method::GET, "/v1/locks", Right::Read(DEFAULT_KEYSPACE)),
            (Method::POST, "/v1/locks/k", Right::Write(DEFAULT_KEYSPACE)),
            (
                Method::GET,
                "/v1/elections/k",
                Right::Read(DEFAULT_KEYSPACE),
            ),
            (
                Method::PUT,
                "/v1/elections/k/renew",
                Right::Write(DEFAULT_KEYSPACE),
            ),
            (Method::GET, "/v1/metadata/k", Right::Read(DEFAULT_KEYSPACE)),
            (
                Method::DELETE,
                "/v1/metadata/k",
                Right::Write(DEFAULT_KEYSPACE),
            ),
            (Method::GET, "/v1/openapi.json", Right::Look),
            (Method::GET, "/v1/kv/other/k", Right::Cluster),
            (Method::GET, "/v1/kv/carts", Right::Cluster),
            (Method::GET, "/metrics", Right::Look),
            (Method::GET, "/v1/status", Right::Look),
            (Method::GET, "/v1/nodes", Right::Look),
            (Method::DELETE, "/v1/nodes/a", Right::Cluster),
            (Method::GET, "/v1/keyspaces", Right::Look),
            (Method::POST, "/v1/keyspaces", Right::Cluster),
            (Method::GET, "/v1/keyspaces/carts", Right::Look),
            (
                Method::PATCH,
                "/v1/keyspaces/carts",
                Right::Administer(carts),
            ),
            (
                Method::DELETE,
                "/v1/keyspaces/carts",
                Right::Administer(carts),
            ),
            (Method::DELETE, "/v1/keyspaces/other", Right::Cluster),
            (Method::POST, "/v1/key", Right::Cluster),
            (Method::GET, "/v1/consensus/topology", Right::Look),
            (Method::GET, "/v1/consensus/topology/quorum", Right::Look),
            (Method::GET, "/v1/consensus/topology/log", Right::Cluster),
            (
                Method::POST,
                "/v1/consensus/topology/leader",
                Right::Cluster,
            ),
            (Method::GET, "/v1/tokens", Right::Cluster),
            (Method::POST, "/v1/tokens", Right::Cluster),
            (Method::DELETE, "/v1/tokens/ff", Right::Cluster),
            (Method::GET, "/v1/users", Right::Cluster),
            (Method::POST, "/v1/users", Right::Cluster),
            (Method::PATCH, "/v1/users/ann", Right::Cluster),
            (Method::DELETE, "/v1/users/ann", Right::Cluster),
            (Method::GET, "/v1/something/new", Right::Cluster),
        ] {
            let uri = path.parse().unwrap();
            let plain = HeaderMap::new();
            assert_eq!(
                needed(&method, &uri, &plain, &topology),
                right,
                "{method} {path}"
            );
        }
        let fenced = HeaderMap::from_iter([(FENCE, "job=1".parse().unwrap())]);
        let uri = "/v1/kv/carts/k".parse().unwrap();
        assert_eq!(
            needed(&Method::GET, &uri, &fenced, &topology),
            Right::Write(carts),
            "under a lock"
        );
    }
}
