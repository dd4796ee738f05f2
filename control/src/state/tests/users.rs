use super::*;
use crate::topology::{Caller, Denied, PasswordHash, Right, Role, SplitPolicy};

fn password(text: &'static str) -> PasswordHash {
    PasswordHash {
        memory_kib: 8,
        passes: 1,
        salt: Secret::new("salt"),
        digest: Secret::new(text),
    }
}

fn everywhere(role: Role) -> Grant {
    Grant {
        role: Some(role),
        keyspace: None,
    }
}

impl Machine {
    fn create_user(&mut self, name: &str, grant: Grant) -> Response {
        self.apply(Command::CreateUser {
            name: name.into(),
            password: password("first"),
            grant,
        })
    }

    fn grant(&mut self, name: &str, grant: Grant) -> Response {
        self.apply(Command::Grant {
            user: name.into(),
            grant,
        })
    }

    fn drop_user(&mut self, name: &str) -> Response {
        self.apply(Command::DropUser(name.into()))
    }

    fn caller(&self, name: &str) -> Caller {
        Caller::User {
            name: name.into(),
            since: self.topology().users[name].since,
        }
    }
}

#[test]
fn a_cluster_with_users_keeps_one_who_administers_it() {
    let mut machine = Machine::founded();
    let nobody = refused(CommandRefusal::NoAdministrator);
    assert_eq!(machine.create_user("ann", everywhere(Role::Write)), nobody);
    assert_eq!(
        machine.create_user("ann", everywhere(Role::Admin)),
        Response::Done
    );
    assert_eq!(machine.drop_user("ann"), nobody, "the last one stays");
    assert_eq!(machine.grant("ann", everywhere(Role::Write)), nobody);
    assert_eq!(
        machine.create_user("bob", everywhere(Role::Admin)),
        Response::Done
    );
    assert_eq!(
        machine.grant("ann", everywhere(Role::Write)),
        Response::Done
    );
    assert_eq!(machine.drop_user("ann"), Response::Done);
    assert_eq!(machine.drop_user("bob"), nobody);
}

#[test]
fn a_role_holds_in_its_keyspace_until_it_is_taken_away_or_the_keyspace_goes() {
    let mut machine = Machine::founded();
    machine.create_user("root", everywhere(Role::Admin));
    let Response::Created { keyspace } = machine.apply(Command::CreateKeyspace(NewKeyspace {
        name: "carts".into(),
        replication: Replication::Auto,
        partitions: 1,
        read: "ONE".into(),
        write: "ONE".into(),
        split: SplitPolicy::default(),
    })) else {
        panic!("not created");
    };
    let in_carts = |role| Grant {
        role,
        keyspace: Some(keyspace),
    };
    machine.create_user("ann", in_carts(Some(Role::Write)));
    let ann = machine.caller("ann");
    let may = |machine: &Machine| machine.topology().allows(&ann, Right::Write(keyspace));
    assert_eq!(may(&machine), Ok(()));
    machine.grant("ann", in_carts(Some(Role::Read)));
    assert_eq!(may(&machine), Err(Denied::Anywhere));
    machine.grant("ann", in_carts(Some(Role::Write)));
    machine.grant("ann", in_carts(None));
    assert_eq!(may(&machine), Err(Denied::Anywhere));
    machine.grant("ann", in_carts(Some(Role::Write)));
    machine.apply(Command::DropKeyspace(keyspace));
    assert!(machine.topology().users["ann"].keyspaces.is_empty());
    assert_eq!(
        machine.grant("ann", in_carts(Some(Role::Read))),
        refused(CommandRefusal::UnknownKeyspace { keyspace })
    );
}

#[test]
fn a_new_password_and_a_new_user_of_an_old_name_end_what_began_before() {
    let mut machine = Machine::founded();
    machine.create_user("root", everywhere(Role::Admin));
    machine.create_user("ann", everywhere(Role::Read));
    let first = machine.caller("ann");
    assert_eq!(machine.topology().allows(&first, Right::Look), Ok(()));
    machine.grant("ann", everywhere(Role::Write));
    assert_eq!(machine.topology().allows(&first, Right::Look), Ok(()));
    machine.apply(Command::SetPassword {
        user: "ann".into(),
        password: password("second"),
    });
    let unknown = Err(Denied::Unknown);
    assert_eq!(machine.topology().allows(&first, Right::Look), unknown);
    assert_eq!(
        machine.topology().users["ann"].everywhere,
        Some(Role::Write),
        "the roles stay"
    );
    let second = machine.caller("ann");
    machine.drop_user("ann");
    machine.create_user("ann", everywhere(Role::Read));
    assert_eq!(machine.topology().allows(&second, Right::Look), unknown);
}

#[test]
fn names_of_users_are_checked_and_unique() {
    let mut machine = Machine::founded();
    let admin = everywhere(Role::Admin);
    for name in ["", "default", "ann+quorum"] {
        assert_eq!(
            machine.create_user(name, admin),
            refused(CommandRefusal::BadUserName)
        );
    }
    machine.create_user("ann", admin);
    assert_eq!(
        machine.create_user("ann", admin),
        refused(CommandRefusal::NameTaken)
    );
    for command in [
        Command::DropUser("bob".into()),
        Command::Grant {
            user: "bob".into(),
            grant: admin,
        },
        Command::SetPassword {
            user: "bob".into(),
            password: password("x"),
        },
    ] {
        assert_eq!(
            machine.apply(command),
            refused(CommandRefusal::UnknownUser("bob".into()))
        );
    }
}
