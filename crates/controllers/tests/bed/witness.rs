//! A client that remembers what was asked through it, by whom.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use client::{Call, Client, Hooked};

/// What was asked: the user's last name, and verb and resource as a role names them.
#[derive(Clone, Default)]
pub struct Asked(Arc<Mutex<BTreeSet<(String, String)>>>);

impl Asked {
    /// A client that remembers here what `user` asks of `client`.
    pub fn through(&self, client: Arc<dyn Client>, user: &str) -> Arc<dyn Client> {
        let user = user.rsplit(':').next().unwrap_or_default().to_owned();
        let asked = self.clone();
        Hooked::before(client, move |call: &Call<'_>| {
            let subresource = call.subresource.map(|name| format!("/{name}")).unwrap_or_default();
            let what = format!("{} {}{subresource}", call.verb, call.resource.resource);
            asked.0.lock().unwrap().insert((user.clone(), what));
            Ok(())
        })
    }

    /// What a user asked so far.
    pub fn by(&self, user: &str) -> Vec<String> {
        let asked = self.0.lock().unwrap();
        asked.iter().filter(|(by, _)| by == user).map(|(_, what)| what.clone()).collect()
    }
}
