//! Which module may name which: the rooms of `src`, and no circles among the files of a crate.

use std::collections::{BTreeMap, BTreeSet};

use crate::Finding;
use crate::rust::{Token, Use};
use crate::tree::{File, Tree};

/// The rooms of `src` with the rooms that each may name besides itself. Crates are free to all.
const ROOMS: [(&str, &[&str]); 16] = [
    ("planted", &[]),
    ("table", &[]),
    ("limits", &[]),
    ("password", &[]),
    ("process", &[]),
    ("tls", &[]),
    ("check", &[]),
    ("doors", &["table"]),
    ("store", &["limits", "planted"]),
    ("config", &["store", "tls"]),
    (
        "faces",
        &["config", "doors", "limits", "password", "process", "tls"],
    ),
    (
        "node",
        &["config", "doors", "password", "planted", "process", "store"],
    ),
    ("client", &["faces"]),
    ("sim", &["check", "config", "doors", "node", "table"]),
    ("demo", &["config", "doors", "faces", "node", "table"]),
    (
        "cli",
        &[
            "check", "config", "demo", "doors", "faces", "limits", "node", "planted", "sim",
            "table", "tls",
        ],
    ),
];

/// The machines of the coordination group. Each may name the first of them and no other file there.
const MACHINES: [&str; 9] = [
    "session",
    "lock",
    "queue",
    "deadlock",
    "semaphore",
    "barrier",
    "latch",
    "election",
    "metadata",
];

/// Imports of imports that are followed to what they name.
const HOPS_MAX: usize = 8;

/// The files of one crate by the path of their module.
type Modules<'a> = BTreeMap<Vec<String>, (&'a str, &'a File)>;
/// What a file names in each other file: the first place and the name there.
type Edges<'a> = BTreeMap<&'a str, (usize, String)>;

/// Places where a room of `src` names one that it may not, and files in no known room.
pub(crate) fn rooms(tree: &Tree) -> Vec<Finding> {
    let forbidden = crossings(tree)
        .into_iter()
        .filter_map(
            |(place, room, target)| match ROOMS.iter().find(|(name, _)| *name == room) {
                None => Some(format!("{place}: {room} is not in the table of rooms")),
                Some((_, allowed)) => (!allowed.contains(&target.as_str()))
                    .then(|| format!("{place}: {room} may not name {target}")),
            },
        );
    forbidden.collect()
}

/// Places where a machine of the coordination group names another file of it than sessions.
pub(crate) fn machines(tree: &Tree) -> Vec<Finding> {
    let root = "control/src/";
    let mut findings = Vec::new();
    for (module, (path, file)) in &modules(tree, root) {
        let Some(machine) = machine_of(module).filter(|name| MACHINES.contains(name)) else {
            continue;
        };
        for (line, named) in named(file, |_| true) {
            let target = absolute(module, &named);
            let target = target.as_deref().and_then(machine_of);
            if let Some(target) = target.filter(|it| *it != machine && *it != MACHINES[0]) {
                findings.push(format!("{path}:{line}: {machine} may not name {target}"));
            }
        }
    }
    findings
}

/// The file of the coordination group that a path leads into.
fn machine_of(path: &[String]) -> Option<&str> {
    match path {
        [room, file, ..] if room == "coordinate" => Some(file),
        _ => None,
    }
}

/// What the table of rooms allows and nobody does: it stays as tight as the code is.
pub(crate) fn idle_doors(tree: &Tree) -> Vec<Finding> {
    let crossed = crossings(tree)
        .into_iter()
        .map(|(_, room, target)| (room, target));
    let crossed = crossed.collect::<BTreeSet<_>>();
    let allowed = ROOMS
        .iter()
        .flat_map(|(room, named)| named.iter().map(|name| (*room, *name)));
    allowed
        .filter(|(room, name)| !crossed.contains(&((*room).to_owned(), (*name).to_owned())))
        .map(|(room, name)| format!("{room} does not name {name}: take it out of the table"))
        .collect()
}

/// Where which room of `src` names which other one. The root of the crate is no room.
fn crossings(tree: &Tree) -> Vec<(String, String, String)> {
    let modules = modules(tree, "src/");
    let mut found = Vec::new();
    for (module, (path, file)) in &modules {
        for (line, named) in named(file, |_| true) {
            let target = absolute(module, &named).and_then(|path| path.first().cloned());
            if let (Some(room), Some(target)) = (module.first(), target)
                && target != *room
            {
                found.push((format!("{path}:{line}"), room.clone(), target));
            }
        }
    }
    found
}

/// Files in circles.
///
/// Two files are in a circle if each names, by a `use` or a path, something that the other defines,
/// directly or through further files; a name that is only passed on by a `pub use` counts for the
/// file that defines it.
pub(crate) fn circles(tree: &Tree) -> Vec<Finding> {
    let crates = tree
        .sources()
        .filter_map(|(path, _)| path.split_once("src/").map(|(before, _)| before));
    let mut findings = Vec::new();
    for before in crates.collect::<BTreeSet<_>>() {
        let modules = modules(tree, &format!("{before}src/"));
        let graph = modules
            .iter()
            .map(|(module, (path, file))| (*path, edges(&modules, module, file)))
            .collect::<BTreeMap<_, _>>();
        for start in graph.keys() {
            if let Some(circle) = shortest_circle(&graph, start) {
                findings.push(format!("{start}: in a circle: {circle}"));
            }
        }
    }
    findings
}

/// The files below `root`, which is a crate's `src/`.
fn modules<'a>(tree: &'a Tree, root: &str) -> Modules<'a> {
    let in_crate = |(path, file)| {
        let inner = str::strip_prefix(path, root)?.strip_suffix(".rs")?;
        let module = inner.split('/').filter(|_| inner != "lib");
        // A program is a crate of its own.
        (inner != "main").then(|| (module.map(str::to_owned).collect(), (path, file)))
    };
    tree.production().filter_map(in_crate).collect()
}

/// Paths of two segments or more outside `use`.
fn paths(code: &[Token]) -> impl Iterator<Item = (usize, Vec<String>)> {
    let is_word = |token: &Token| {
        token
            .text
            .starts_with(|c: char| c == '_' || c.is_alphabetic())
    };
    let text = |at: usize| code.get(at).map_or("", |token: &Token| token.text.as_str());
    let mut in_use = false;
    (0..code.len()).filter_map(move |at| {
        in_use = match text(at) {
            "use" => text(at + 1) != "<",
            ";" => false,
            _ => in_use,
        };
        let begins = is_word(&code[at]) && (at == 0 || !["::", "."].contains(&text(at - 1)));
        if in_use || !begins || text(at + 1) != "::" {
            return None;
        }
        let more = code[at + 1..]
            .chunks_exact(2)
            .take_while(|pair| pair[0].text == "::" && is_word(&pair[1]));
        let segments = more.map(|pair| pair[1].text.clone());
        Some((
            code[at].line,
            [text(at).to_owned()].into_iter().chain(segments).collect(),
        ))
    })
}

/// `path`, as `module` writes it, from the root of the crate; nothing if it begins elsewhere.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let mut from = match path.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => module.to_vec(),
        _ => return None,
    };
    let mut rest = path;
    while let Some((first, behind)) = rest.split_first()
        && ["crate", "self", "super"].contains(&first.as_str())
    {
        if first == "super" {
            from.pop();
        }
        rest = behind;
    }
    from.extend_from_slice(rest);
    Some(from)
}

/// The imports of `file` that count, and its paths of two segments or more, with their lines.
fn named(file: &File, counts: impl Fn(&Use) -> bool) -> Vec<(usize, Vec<String>)> {
    let imports = file.items.uses.iter().filter(|used| counts(used));
    let imports = imports.map(|used| (used.line, used.path.clone()));
    imports.chain(paths(&file.production)).collect()
}

/// What `module` names in the other files of its crate.
fn edges<'a>(modules: &Modules<'a>, module: &[String], file: &File) -> Edges<'a> {
    let is_used = |used: &Use| {
        let named = file
            .production
            .iter()
            .filter(|token| token.text == used.name);
        !used.reexports || named.count() > 1
    };
    let mut edges = Edges::new();
    for (line, path) in named(file, is_used) {
        let target = resolve(modules, module, &path, HOPS_MAX);
        if let Some(target) = target.filter(|target| target != module) {
            let first = || (line, path.join("::"));
            edges.entry(modules[&target].0).or_insert_with(first);
        }
    }
    edges
}

/// What a path leads to.
enum Target {
    /// Something that the file of this module defines.
    Item(Vec<String>),
    /// A module as a whole, or another crate.
    Other,
}

/// The module that defines what `path` means in `module`, if it is one of this crate. Follows at
/// most `hops` imports.
fn resolve(
    modules: &Modules<'_>,
    module: &[String],
    path: &[String],
    hops: usize,
) -> Option<Vec<String>> {
    let target = match absolute(module, path) {
        Some(path) => look_up(modules, &[], &path, hops),
        None => look_up(modules, module, path, hops),
    };
    match target? {
        Target::Item(module) => Some(module),
        Target::Other => None,
    }
}

/// What `path` means seen from `module`; nothing if its first name is not known there.
fn look_up(
    modules: &Modules<'_>,
    module: &[String],
    path: &[String],
    hops: usize,
) -> Option<Target> {
    let (first, rest) = path.split_first()?;
    let items = &modules.get(module)?.1.items;
    let child = [module, &path[..1]].concat();
    let is_module = modules.contains_key(&child);
    if is_module && !rest.is_empty() {
        // A name that is not seen there is made by a macro.
        let target = look_up(modules, &child, rest, hops);
        return target.or(Some(Target::Item(child)));
    }
    if items.names.contains(first) {
        return Some(Target::Item(module.to_vec()));
    }
    if is_module || hops == 0 {
        return Some(Target::Other);
    }
    if let Some(used) = items.uses.iter().find(|used| used.name == *first) {
        let target = resolve(modules, module, &[&used.path, rest].concat(), hops - 1);
        return Some(target.map_or(Target::Other, Target::Item));
    }
    let mut globs = items.uses.iter().filter(|used| used.name == "*");
    globs.find_map(|used| {
        let from = absolute(module, &used.path).unwrap_or([module, &used.path].concat());
        look_up(modules, &from, path, hops - 1)
    })
}

/// The shortest way from `start` back to it.
fn shortest_circle(graph: &BTreeMap<&str, Edges<'_>>, start: &str) -> Option<String> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    let mut at = 0;
    while let Some(way) = ways.get(at).cloned() {
        let last = way.last()?;
        if way.len() > 1 && *last == start {
            let step = |pair: &[&str]| {
                let (line, name) = &graph[pair[0]][pair[1]];
                format!("{}:{line} names {name}", pair[0])
            };
            return Some(way.windows(2).map(step).collect::<Vec<_>>().join(", "));
        }
        let next = graph.get(last)?.keys().filter(|next| seen.insert(**next));
        let longer = next.map(|next| [way.as_slice(), &[*next]].concat());
        ways.extend(longer.collect::<Vec<_>>());
        at += 1;
    }
    None
}

fn planted(files: &[(&str, &str)]) -> Tree {
    Tree::new(
        files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned())),
    )
}

#[test]
fn a_room_that_names_one_it_may_not_is_found() {
    let found = |path: &str, text: &str| rooms(&planted(&[(path, text)]));
    assert_eq!(
        found(
            "src/faces/resp.rs",
            "use crate::doors::Data;\nuse crate::{limits, node::Node};"
        ),
        ["src/faces/resp.rs:2: faces may not name node"]
    );
    for (path, text) in [
        ("src/faces/http.rs", "fn a() { crate::node::start() }"),
        ("src/faces.rs", "fn a() { assert!(super::store::open()) }"),
        (
            "src/doors/data.rs",
            "fn a() -> super::super::node::Node { todo() }",
        ),
        ("src/store.rs", "pub use crate::config::NodeConfig;"),
        ("src/check.rs", "use crate::sim;"),
        ("src/attic.rs", "use crate::doors::Data;"),
    ] {
        assert_eq!(found(path, text).len(), 1, "{path}");
    }
    for (path, text) in [
        (
            "src/faces/resp/server.rs",
            "use super::parse; use crate::faces::http; use quorate_dynamo::node;",
        ),
        (
            "src/faces/resp/server.rs",
            "#[cfg(test)] mod tests { use crate::node::Node; }",
        ),
        ("src/cli.rs", "use crate::{node::Node, sim::run};"),
        ("gossip/src/quic.rs", "use crate::sim::Clock;"),
    ] {
        assert_eq!(found(path, text), [""; 0], "{path}");
    }
}

#[test]
fn a_machine_that_names_another_is_found() {
    let found = |text: &str| machines(&planted(&[("control/src/coordinate/lock.rs", text)]));
    assert_eq!(
        found("use super::session::Name;\nuse super::queue::Queue;"),
        ["control/src/coordinate/lock.rs:2: lock may not name queue"]
    );
    assert_eq!(found("fn a() { crate::coordinate::state::b() }").len(), 1);
    assert_eq!(
        found("use super::session::Name; use crate::topology::LogIndex;"),
        [""; 0]
    );
}

#[test]
fn each_room_may_name_what_the_table_says_and_no_other() {
    for ((room, allowed), (other, _)) in ROOMS.iter().flat_map(|room| ROOMS.map(|o| (room, o))) {
        let text = format!("use crate::{other}::Thing;");
        let tree = planted(&[(&format!("src/{room}.rs"), &text)]);
        let is_free = *room == other || allowed.contains(&other);
        assert_eq!(rooms(&tree).is_empty(), is_free, "{room} names {other}");
        let total = ROOMS.iter().map(|(_, named)| named.len()).sum::<usize>();
        let idle = total - usize::from(allowed.contains(&other));
        assert_eq!(idle_doors(&tree).len(), idle, "{room} names {other}");
    }
}

#[test]
fn every_room_stands_behind_those_it_names() {
    let known = |at: usize, name: &str| ROOMS[..at].iter().any(|(room, _)| *room == name);
    for (at, (room, named)) in ROOMS.iter().enumerate() {
        assert!(
            named.iter().all(|name| known(at, name)),
            "{room} is part of a circle of rooms"
        );
    }
}

#[test]
fn a_circle_of_files_is_found() {
    let child = ("control/src/a/b.rs", "use super::A;\npub struct B(A);");
    let root = ("control/src/lib.rs", "mod a;");
    let found = |parent: &str| circles(&planted(&[root, ("control/src/a.rs", parent), child]));
    assert_eq!(
        found("mod b;\nuse b::B;\npub struct A;\nfn f() -> B { g() }"),
        [
            "control/src/a.rs: in a circle: control/src/a.rs:2 names b::B, \
             control/src/a/b.rs:1 names super::A",
            "control/src/a/b.rs: in a circle: control/src/a/b.rs:1 names super::A, \
             control/src/a.rs:2 names b::B"
        ]
    );
    assert_eq!(found("mod b;\npub struct A;\nfn f() { b::g() }").len(), 2);
    assert_eq!(
        found("mod b;\npub use b::B;\npub struct A;\nimpl From<B> for A {}").len(),
        2
    );
    for free in [
        "mod b;\npub struct A;",
        "mod b;\npub use b::B;\npub struct A;",
        "mod b;\n#[cfg(test)] use b::B;\npub struct A;",
        "mod b;\nuse b::B;\nuse other::A;\nfn f(b: B) {}",
    ] {
        assert_eq!(found(free), [""; 0], "{free}");
    }
}

#[test]
fn a_circle_is_followed_through_other_files_and_reexports() {
    let found = |d: &str| {
        circles(&planted(&[
            (
                "control/src/lib.rs",
                "mod a; mod c; mod d;\npub use c::{C as Name, *};",
            ),
            ("control/src/a.rs", "use crate::Name;\npub struct A;"),
            (
                "control/src/c.rs",
                "use crate::d;\npub struct C;\npub struct E;\nfn f() { d::g() }",
            ),
            ("control/src/d.rs", d),
        ]))
        .len()
    };
    assert_eq!(found("pub fn g() { crate::a::A }"), 3);
    assert_eq!(found("use crate::E;\npub fn g() {}"), 2);
    assert_eq!(found("use crate::a;\npub fn g() {}"), 0);
}
