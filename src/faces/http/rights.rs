//! Which right a request needs. What is not named here needs the right to administer the cluster,
//! so that a new path is closed until somebody has thought about it.

use axum::http::{Method, Uri};
use quorate_control::topology::{Right, Topology};

use super::uri;

/// The right for a request. A keyspace that does not exist is the cluster's business: only who
/// administers it is told so.
pub(super) fn needed(method: &Method, uri: &Uri, topology: &Topology) -> Right {
    let keyspace = |name: &str| topology.keyspace_named(name).map(|(id, _)| id);
    let looks = *method == Method::GET || *method == Method::HEAD;
    let path = uri.path();
    if let Some(prefix) = ["/v1/kv/", "/v1/explain/"]
        .into_iter()
        .find(|prefix| path.starts_with(prefix))
    {
        let named = uri::keyspace_and_key(uri, prefix).ok();
        let right = if looks { Right::Read } else { Right::Write };
        return named
            .and_then(|(name, _)| keyspace(&name))
            .map_or(Right::Cluster, right);
    }
    if let Some(name) = path.strip_prefix("/v1/keyspaces/")
        && !looks
    {
        return keyspace(name).map_or(Right::Cluster, Right::Administer);
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
        };
        for (method, path, right) in [
            (Method::GET, "/v1/kv/carts/k", Right::Read(carts)),
            (Method::HEAD, "/v1/kv/carts/a/b", Right::Read(carts)),
            (Method::PUT, "/v1/kv/carts/k", Right::Write(carts)),
            (Method::DELETE, "/v1/kv/carts/k", Right::Write(carts)),
            (Method::DELETE, "/v1/kv/c%61rts/k", Right::Write(carts)),
            (Method::GET, "/v1/explain/carts/k", Right::Read(carts)),
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
            assert_eq!(needed(&method, &uri, &topology), right, "{method} {path}");
        }
    }
}
