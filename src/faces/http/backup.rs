//! `/v1/backup` and `/v1/restore`: what a cluster is apart from its keys, as a document, and its
//! keys, as pages of partitions.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request as HttpRequest, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use quorate_control::topology::{KeyspaceId, Partition};
use quorate_dynamo::Consistency;
use quorate_dynamo::op::{
    Answer, KEY_BYTES_MAX, Mutation, Op, PartitionOp, Reply, Request, RequestError, VALUE_BYTES_MAX,
};
use quorate_dynamo::saved::{SavedKey, SavedRow};

use super::admin::{answer, bad_document};
use super::face::{Face, Shared, json, read_body};
use super::problem::Problem;
use super::uri;
use crate::doors::backup::{
    BackupPage, Inventory, KeyspaceRecord, PAGE_BYTES_MAX, RestoredInventory, RestoredPage,
    UserRecord, decode_end,
};
use crate::doors::{AdminError, KeyspaceSpec, Pending, RoleIn, UserChange};

/// How many bytes a page has. A partition that is no longer is saved as it is at one moment.
const PAGE_BYTES: u32 = 4 * 1024 * 1024;
/// The longest inventory; the largest real one has some thousands of users.
const INVENTORY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// About how many bytes one change restores, unless a single row is longer.
const CHANGE_BYTES: usize = 256 * 1024;
/// What a row costs beside its bytes.
const ROW_BYTES: usize = 64;
/// How many changes of one page, and about how many bytes of them, are under way at a time. Guess:
/// enough to keep the shards busy, and few enough that none waits long for those before it.
const AT_A_TIME: usize = 64;
const BYTES_AT_A_TIME: usize = 1024 * 1024;

/// `GET /v1/backup`.
pub(super) async fn inventory(State(face): Shared) -> Response {
    json(StatusCode::OK, &Inventory::of(&face.data.topology()))
}

/// `POST /v1/backup/{keyspace}/{partition}`: the first page of a partition, or, with the end of a
/// page as the body, the page after it.
pub(super) async fn page(
    State(face): Shared,
    Path((keyspace, partition)): Path<(String, String)>,
    uri: Uri,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let [consistency, timeout] = uri::parameters(&uri, ["consistency", "timeout"])?;
    let asking = Asking::new(&face, &keyspace, consistency, timeout)?;
    let partition = partition
        .parse()
        .ok()
        .filter(|partition| *partition < asking.partitions)
        .ok_or_else(|| {
            let last = asking.partitions.saturating_sub(1);
            bad(format!("{keyspace} has the partitions 0 to {last}"))
        })?;
    let end = read_body(
        request,
        2 * (KEY_BYTES_MAX + VALUE_BYTES_MAX),
        asking.timeout,
    )
    .await?;
    let after = match &end[..] {
        [] => None,
        end => Some(decode_end(end).ok_or_else(|| {
            bad("the body must be empty, or the end of a page as this node gave it".to_owned())
        })?),
    };
    let op = Op::Partition(
        Partition(partition),
        PartitionOp::Save {
            after,
            bytes: PAGE_BYTES,
        },
    );
    let answered = asking.submit(&face, op)?.await;
    match heard(&face, answered)? {
        Reply::Page { keys, next } => {
            let page = BackupPage {
                keys,
                next: next.map(|end| *end),
            }
            .encode();
            Ok(([(header::CONTENT_TYPE, "application/octet-stream")], page).into_response())
        }
        _ => Err(RequestError::Moving.into()),
    }
}

/// `POST /v1/restore`: makes the keyspaces and the users of an inventory that are not there.
pub(super) async fn restore_inventory(
    State(face): Shared,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let bytes = read_body(request, INVENTORY_BYTES_MAX, face.config.timeout).await?;
    let inventory: Inventory =
        serde_json::from_slice(&bytes).map_err(|error| bad_document(error.to_string()))?;
    let mut restored = RestoredInventory::default();
    for keyspace in &inventory.keyspaces {
        restore_keyspace(&face, keyspace, &mut restored).await?;
    }
    // Whoever administers the cluster comes first: the first user must.
    let mut users: Vec<&UserRecord> = inventory.users.iter().collect();
    users.sort_by_key(|user| std::cmp::Reverse(user.everywhere));
    for user in users {
        restore_user(&face, user, &mut restored).await?;
    }
    Ok(json(StatusCode::OK, &restored))
}

async fn restore_keyspace(
    face: &Face,
    keyspace: &KeyspaceRecord,
    restored: &mut RestoredInventory,
) -> Result<(), Problem> {
    let name = &keyspace.name;
    if face.data.topology().keyspace_named(name).is_some() {
        restored.keyspaces_kept.push(name.clone());
        return Ok(());
    }
    let level = |text: &str| {
        let level = text.parse::<Consistency>();
        level
            .map(Some)
            .map_err(|error| bad_document(error.to_string()))
    };
    let spec = KeyspaceSpec {
        name: name.as_str().into(),
        replication: keyspace.replication(),
        partitions: Some(keyspace.partitions),
        read: level(&keyspace.read)?,
        write: level(&keyspace.write)?,
        split: Some(keyspace.split),
    };
    let automatic = KeyspaceSpec {
        replication: quorate_control::topology::Replication::Auto,
        ..spec.clone()
    };
    match tokio::time::timeout(face.config.timeout, face.admin.create_keyspace(spec)).await {
        Ok(Ok(Err(AdminError::UnknownDatacenter { .. } | AdminError::TooFewNodes { .. }))) => {
            answer(face, face.admin.create_keyspace(automatic)).await?;
            restored.keyspaces_auto.push(name.clone());
        }
        Ok(Ok(made)) => drop(made.map_err(Problem::from)?),
        Ok(Err(_node_stopped)) => return Err(Problem::stopping()),
        Err(_elapsed) => return Err(AdminError::TimedOut.into()),
    }
    restored.keyspaces_made.push(name.clone());
    Ok(())
}

/// A user of the same name and password is one that a restore has made before, perhaps without all
/// of its roles.
async fn restore_user(
    face: &Face,
    user: &UserRecord,
    restored: &mut RestoredInventory,
) -> Result<(), Problem> {
    let password = user
        .password
        .hash()
        .ok_or_else(|| bad_document(format!("the password of user {} is no hash", user.name)))?;
    let topology = face.data.topology();
    match topology.users.get(&*user.name) {
        Some(held) if held.password != password => {
            restored.users_kept.push(user.name.clone());
            return Ok(());
        }
        Some(_) => restored.users_kept.push(user.name.clone()),
        None => {
            let role = RoleIn {
                role: user.everywhere,
                keyspace: None,
            };
            let change = UserChange::Admit { password, role };
            answer(face, face.admin.change_user(&user.name, change)).await?;
            restored.users_made.push(user.name.clone());
        }
    }
    for (keyspace, role) in &user.keyspaces {
        // It may have been left out, or dropped since.
        if face.data.topology().keyspace_named(keyspace).is_some() {
            let change = UserChange::Grant(RoleIn {
                role: Some(*role),
                keyspace: Some(keyspace.as_str().into()),
            });
            answer(face, face.admin.change_user(&user.name, change)).await?;
        }
    }
    Ok(())
}

/// `POST /v1/restore/{keyspace}?archive=ID`: restores a page. It may be sent again.
pub(super) async fn restore_page(
    State(face): Shared,
    Path(keyspace): Path<String>,
    uri: Uri,
    request: HttpRequest<Body>,
) -> Result<Response, Problem> {
    let [archive, consistency, timeout] =
        uri::parameters(&uri, ["archive", "consistency", "timeout"])?;
    let asking = Asking::new(&face, &keyspace, consistency, timeout)?;
    let archive = archive
        .and_then(|id| u128::from_str_radix(&id, 16).ok())
        .ok_or_else(|| {
            bad("archive must be the id of the backup, 32 hexadecimal digits".to_owned())
        })?;
    let body = read_body(request, PAGE_BYTES_MAX, asking.timeout).await?;
    let page = BackupPage::decode(&body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "bad_page", error.to_string()))?;
    drop(body);
    let mut restoring = Restoring {
        face: &face,
        asking,
        under_way: VecDeque::new(),
        bytes: 0,
        done: RestoredPage::default(),
    };
    let restored = restoring.page(page, archive).await;
    restored.map_err(Problem::after_part_of_it)?;
    Ok(json(StatusCode::OK, &restoring.done))
}

/// A change that has no answer yet.
struct UnderWay {
    rows: u64,
    bytes: usize,
    answer: Pending<Result<Answer, RequestError>>,
}

/// The changes of a page.
struct Restoring<'a> {
    face: &'a Face,
    asking: Asking,
    under_way: VecDeque<UnderWay>,
    /// Their bytes together.
    bytes: usize,
    done: RestoredPage,
}

impl Restoring<'_> {
    async fn page(&mut self, page: BackupPage, archive: u128) -> Result<(), Problem> {
        for SavedKey { key, expiry, rows } in page.keys {
            for (bytes, rows) in in_changes(key.len(), rows) {
                while self.under_way.len() >= AT_A_TIME
                    || (self.bytes > 0 && self.bytes + bytes > BYTES_AT_A_TIME)
                {
                    self.settle_one().await?;
                }
                let count = rows.len() as u64;
                let restore = Mutation::Restore {
                    archive,
                    expiry,
                    rows,
                };
                let op = Op::Mutate(key.clone(), restore);
                let answer = self.asking.submit(self.face, op)?;
                self.bytes += bytes;
                self.under_way.push_back(UnderWay {
                    rows: count,
                    bytes,
                    answer,
                });
            }
        }
        while !self.under_way.is_empty() {
            self.settle_one().await?;
        }
        Ok(())
    }

    async fn settle_one(&mut self) -> Result<(), Problem> {
        let Some(UnderWay {
            rows,
            bytes,
            answer,
        }) = self.under_way.pop_front()
        else {
            return Ok(());
        };
        self.bytes -= bytes;
        let reply = heard(self.face, answer.await)?;
        let restored = match reply {
            Reply::Integer(restored) => restored.unsigned_abs().min(rows),
            _ => 0,
        };
        self.done.restored += restored;
        self.done.kept += rows - restored;
        Ok(())
    }
}

/// The rows of a key, in changes that are not too long to travel, each with its bytes.
fn in_changes(key: usize, rows: Vec<SavedRow>) -> Vec<(usize, Vec<SavedRow>)> {
    let mut changes: Vec<(usize, Vec<SavedRow>)> = Vec::new();
    for row in rows {
        let more = ROW_BYTES + key + row.weight();
        match changes.last_mut() {
            Some((bytes, change)) if *bytes + more <= CHANGE_BYTES => {
                *bytes += more;
                change.push(row);
            }
            _ => changes.push((more, vec![row])),
        }
    }
    changes
}

/// How the requests of one page are asked.
struct Asking {
    keyspace: KeyspaceId,
    partitions: u16,
    consistency: Consistency,
    timeout: Duration,
}

impl Asking {
    fn new(
        face: &Face,
        keyspace: &str,
        consistency: Option<String>,
        timeout: Option<String>,
    ) -> Result<Self, Problem> {
        let topology = face.data.topology();
        let (id, keyspace) = topology
            .keyspace_named(keyspace)
            .ok_or(RequestError::NoKeyspace)?;
        Ok(Self {
            keyspace: id,
            partitions: u16::try_from(keyspace.placement.len()).unwrap_or(u16::MAX),
            consistency: uri::level(consistency)?.unwrap_or(Consistency::Quorum),
            timeout: uri::duration(timeout)?.unwrap_or(face.config.timeout),
        })
    }

    fn submit(
        &self,
        face: &Face,
        op: Op,
    ) -> Result<Pending<Result<Answer, RequestError>>, Problem> {
        let topology = face.data.topology();
        // A node that is not in the topology serves nothing yet.
        let node = topology
            .nodes
            .get(&face.data.node())
            .ok_or(RequestError::Moving)?;
        Ok(face.data.submit(Request {
            keyspace: self.keyspace,
            op,
            consistency: Some(self.consistency),
            timeout: self.timeout,
            datacenter: node.datacenter.clone(),
            id: None,
            claim: None,
        }))
    }
}

fn heard<E>(
    face: &Face,
    answered: Result<Result<Answer, RequestError>, E>,
) -> Result<Reply, Problem> {
    match answered {
        Ok(Ok(answer)) => Ok(answer.reply),
        Ok(Err(error)) => Err(Problem::of(error, &face.data.topology())),
        Err(_node_stopped) => Err(Problem::stopping()),
    }
}

fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", detail)
}
