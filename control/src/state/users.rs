//! Users: making, granting, dropping.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::command::{CommandRefusal, Grant, Response};
use super::decided::ControlState;
use crate::planted::LAST_ADMINISTRATOR_GOES;
use crate::topology::{Epoch, PasswordHash, User, is_user_name};

impl ControlState {
    /// **Law:** a cluster that has users has one among them who administers it: the first one must,
    /// and the last such one stays. So nobody can be locked out of a cluster for good, and a
    /// cluster that has once asked who its callers are never stops asking.
    pub(super) fn create_user(
        &mut self,
        epoch: Epoch,
        name: Arc<str>,
        password: PasswordHash,
        grant: &Grant,
    ) -> Result<Response, CommandRefusal> {
        if !is_user_name(&name) {
            return Err(CommandRefusal::BadUserName);
        }
        if self.topology.users.contains_key(&name) {
            return Err(CommandRefusal::NameTaken);
        }
        let mut user = User {
            since: epoch,
            password,
            everywhere: None,
            keyspaces: BTreeMap::new(),
        };
        self.grant_to(&mut user, grant)?;
        self.replace_user(name, Some(user))
    }

    pub(super) fn set_password(
        &mut self,
        epoch: Epoch,
        name: &Arc<str>,
        password: PasswordHash,
    ) -> Result<Response, CommandRefusal> {
        let user = User {
            since: epoch,
            password,
            ..self.user(name)?.clone()
        };
        self.replace_user(Arc::clone(name), Some(user))
    }

    pub(super) fn grant(
        &mut self,
        name: &Arc<str>,
        grant: &Grant,
    ) -> Result<Response, CommandRefusal> {
        let mut user = self.user(name)?.clone();
        self.grant_to(&mut user, grant)?;
        self.replace_user(Arc::clone(name), Some(user))
    }

    pub(super) fn drop_user(&mut self, name: &Arc<str>) -> Result<Response, CommandRefusal> {
        self.user(name)?;
        self.replace_user(Arc::clone(name), None)
    }

    fn user(&self, name: &Arc<str>) -> Result<&User, CommandRefusal> {
        let unknown = || CommandRefusal::UnknownUser(Arc::clone(name));
        self.topology.users.get(name).ok_or_else(unknown)
    }

    fn grant_to(&self, user: &mut User, grant: &Grant) -> Result<(), CommandRefusal> {
        let Grant { role, keyspace } = *grant;
        match (keyspace, role) {
            (None, role) => user.everywhere = role,
            (Some(keyspace), Some(role)) => {
                self.keyspace(keyspace)?;
                user.keyspaces.insert(keyspace, role);
            }
            (Some(keyspace), None) => {
                user.keyspaces.remove(&keyspace);
            }
        }
        Ok(())
    }

    /// The only place that changes the users, so that the law is checked once.
    fn replace_user(
        &mut self,
        name: Arc<str>,
        user: Option<User>,
    ) -> Result<Response, CommandRefusal> {
        let administers =
            |(other, user): (&Arc<str>, &User)| *other != name && user.administers_cluster();
        let kept = user.as_ref().is_some_and(User::administers_cluster)
            || self.topology.users.iter().any(administers);
        if !kept && !LAST_ADMINISTRATOR_GOES.is_planted() {
            return Err(CommandRefusal::NoAdministrator);
        }
        let users = &mut self.topology_mut().users;
        match user {
            Some(user) => drop(users.insert(name, user)),
            None => drop(users.remove(&name)),
        }
        Ok(Response::Done)
    }
}
