//! Who may do what: the one place that decides it.

use super::Topology;
use super::users::{Caller, Denied, Right};
use crate::planted::{SESSION_OUTLIVES_PASSWORD, USERS_LEAVE_THE_DOOR_OPEN};

impl Topology {
    /// Whether `caller` may do what needs `right`. Whatever is not allowed is denied.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn allows(&self, caller: &Caller, right: Right) -> Result<(), Denied> {
        match caller {
            Caller::Default => Ok(()),
            Caller::Anyone if self.users.is_empty() || USERS_LEAVE_THE_DOOR_OPEN.is_planted() => {
                Ok(())
            }
            Caller::Stranger | Caller::Anyone => Err(Denied::Unknown),
            Caller::User { name, since } => self
                .users
                .get(name)
                .filter(|user| user.since == *since || SESSION_OUTLIVES_PASSWORD.is_planted())
                .ok_or(Denied::Unknown)?
                .may(right),
        }
    }
}

#[cfg(test)]
mod tests;
