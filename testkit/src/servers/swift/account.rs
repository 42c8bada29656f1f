//! An account of Swift as any other client sees it: what stands in its containers, object by object, and a way to put things there.

use super::{Swift, USER};
use crate::ask::{Said, ask};

/// An account that was logged in to by Swift's own login.
pub struct Account {
    port: u16,
    path: String,
    token: String,
}

impl Account {
    /// Logs in.
    ///
    /// # Panics
    /// When the cluster does not let its user in.
    pub fn of(swift: &Swift) -> Account {
        let (user, key) = USER;
        let login = [("X-Auth-User", user), ("X-Auth-Key", key)];
        let said = ask(swift.port, "GET", "/auth/v1.0", &login, b"").well();
        let header = |name| said.header(name).expect("a login gives it").to_owned();
        let url = header("x-storage-url");
        let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).expect("it is a URL");
        Account { port: swift.port, path, token: header("x-auth-token") }
    }

    /// Asks about a container or an object, by a path that is spelled for URLs.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Said {
        let token = [("X-Auth-Token", self.token.as_str())];
        ask(self.port, method, &format!("{}/{path}", self.path), &[&token, headers].concat(), body)
    }

    /// Puts an object, or makes a container.
    pub fn put(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        drop(self.ask("PUT", path, headers, body).well());
    }

    /// Every object of a container, and its length.
    ///
    /// # Panics
    /// When there is no such container.
    pub fn objects(&self, container: &str) -> Vec<(String, u64)> {
        let said = self.ask("GET", &format!("{container}?format=json"), &[], b"").well();
        let rows: serde_json::Value = serde_json::from_slice(&said.body).expect("a list is JSON");
        let rows = rows.as_array().expect("a list is one").iter();
        let row = |row: &serde_json::Value| {
            let name = row["name"].as_str().expect("an object has a name").to_owned();
            (name, row["bytes"].as_u64().expect("an object has a length"))
        };
        rows.map(row).collect()
    }
}
