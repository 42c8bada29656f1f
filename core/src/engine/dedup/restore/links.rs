//! Files with several names: the first wanted one in the order of the tree gets the content, the others are made links to it
//! when everything else is done.

use super::super::tree::Entry;
use super::Run;
use super::losses::{Identity, Side, concerns_one};
use crate::error::{Error, Result};
use crate::monitor::Event;
use crate::tree::directory::lossy;
use crate::tree::target::Target;
use std::collections::HashMap;
use std::sync::Arc;

/// Names that are to become links.
#[derive(Default)]
pub(super) struct Links {
    firsts: HashMap<Identity, First>,
    links: Vec<Link>,
}

/// The name that gets the content.
struct First {
    path: Arc<[u8]>,
    /// Names that were not met yet.
    left: u64,
}

struct Link {
    path: Vec<u8>,
    first: Arc<[u8]>,
    file: Identity,
}

impl Links {
    /// The name that an entry will be a link to, and so needs no content of its own; `None` where it is the first one.
    pub fn take(&mut self, path: &[u8], entry: &Entry) -> Option<Arc<[u8]>> {
        let (Some(file), Some(names)) = (Identity::of(entry), entry.names) else { return None };
        let Some(first) = self.firsts.get_mut(&file) else {
            let left = names.links.saturating_sub(1);
            if left > 0 {
                self.firsts.insert(file, First { path: path.into(), left });
            }
            return None;
        };
        let name = Arc::clone(&first.path);
        self.links.push(Link { path: path.to_vec(), first: Arc::clone(&name), file });
        first.left -= 1;
        if first.left == 0 {
            self.firsts.remove(&file);
        }
        Some(name)
    }

    /// Makes the links.
    ///
    /// # Errors
    /// What ends the run; other trouble is told to the monitor.
    pub fn make(self, run: &Run<'_>, mut target: Option<&mut Target<'_>>) -> Result<()> {
        for Link { path, first, file } in self.links {
            run.monitor.check()?;
            let done = match target.as_deref_mut() {
                // Whatever stands under that name is something else.
                _ if run.losses.has(&file) => {
                    let what = "is a further name of a file that could not be restored:";
                    Err(Error::damaged(what, lossy(&first)))
                }
                Some(target) => target.hard_link(&path, &first),
                None => Ok(()),
            };
            match done {
                Ok(()) => run.monitor.event(Event::Entry { path: &path, bytes: 0 }),
                Err(error) if concerns_one(&error, Side::Target) => {
                    run.lose_part(&path, &error, Side::Target)
                }
                Err(error) => return Err(error.while_doing("cannot restore", lossy(&path))),
            }
        }
        Ok(())
    }
}
