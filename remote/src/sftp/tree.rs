//! Names of objects as paths on the server, and what is done to paths: folders made and removed, files made under temporary
//! names and given their own.
//!
//! The invariant: a file under an object's name is whole, and on the disk where the server can say so. Temporary files are
//! called as those of a storage in a folder are, so that either takes the other's for what they are.

use super::fault::{Asked, Fault};
use super::session::Session;
use super::wire::{self, Attributes, Request, Sort};
use bytes::Bytes;
use icecore::error::{Error, Kind, Result};
use icecore::name::ObjectName;
use icecore::storage::PutMode;
use std::hash::{BuildHasher, RandomState};

/// How temporary files are called in front of their random part. Object names never have a component like it.
const TEMPORARY_PREFIX: &str = ".icecore-tmp-";
/// The longest component of a name on common file systems.
const COMPONENT_BYTES: usize = 255;
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// How often a folder that vanishes under our hands is made again. Each time is one lost race.
const ATTEMPTS: u32 = 1_000;

/// The folder everything is in; empty for `/`.
pub(super) struct Root(String);

/// An object's name, taken apart: the folder (`None` is the root) and the file's path.
pub(super) struct Place<'a> {
    pub folder: Option<&'a str>,
    pub path: String,
}

/// A file on its way to its name.
pub(super) struct Temporary {
    pub path: String,
    pub handle: Bytes,
}

pub(super) fn is_temporary(component: &[u8]) -> bool {
    component.starts_with(TEMPORARY_PREFIX.as_bytes())
}

impl Root {
    /// The path of an address: absolute, or from where a login begins.
    ///
    /// # Errors
    /// `Invalid` when there is none.
    pub fn new(path: &str) -> Result<Root> {
        if path.is_empty() {
            return Err(Error::invalid(
                "no folder in the address;",
                "/folder is absolute, /~/folder begins in the home folder",
            ));
        }
        let path = path.trim_end_matches('/');
        Ok(Root(match path.strip_prefix("/~") {
            Some("") => ".".to_owned(),
            Some(rest) if rest.starts_with('/') => format!(".{rest}"),
            _ => path.to_owned(),
        }))
    }

    /// The folder itself.
    pub fn path(&self) -> &str {
        if self.0.is_empty() { "/" } else { &self.0 }
    }

    /// Where an object or a folder is; the root for `None`.
    pub fn path_of(&self, name: Option<&str>) -> String {
        match name {
            Some(name) => format!("{}/{name}", self.0),
            None => self.path().to_owned(),
        }
    }

    /// # Errors
    /// `Invalid` for a name that cannot be a file here.
    pub fn place<'a>(&self, name: &'a ObjectName) -> Result<Place<'a>> {
        let is_wrong = |part: &str| part.len() > COMPONENT_BYTES || is_temporary(part.as_bytes());
        if name.as_str().split('/').any(is_wrong) {
            return Err(Error::invalid("not a name for a file:", name.to_string())
                .hint("components have at most 255 bytes, and `.icecore-tmp-` is reserved"));
        }
        let folder = name.as_str().rsplit_once('/').map(|(folder, _)| folder);
        Ok(Place { folder, path: self.path_of(Some(name.as_str())) })
    }

    /// That the root is there, and a folder.
    pub async fn require(&self, session: &Session) -> Asked<()> {
        match session.ask(&Request::LookBehind(self.path())).attributes().await {
            Ok(found) if found.sort().is_none_or(|sort| sort == Sort::Folder) => Ok(()),
            Ok(_) => Err(Error::invalid("not a folder:", self.path()).into()),
            Err(fault) if fault.has_code(wire::NO_SUCH_FILE) => {
                Err(Error::new(Kind::NotFound, "no such folder:").on(self.path()).into())
            }
            Err(fault) => Err(fault),
        }
    }

    /// Makes the root, and the folders above it.
    pub async fn make(&self, session: &Session) -> Asked<()> {
        let path = self.path();
        let ends = path.match_indices('/').map(|(end, _)| end).filter(|end| *end > 0).chain([path.len()]);
        for end in ends {
            let folder = &path[..end];
            if folder == "." || session.ask(&Request::LookBehind(folder)).attributes().await.is_ok() {
                continue;
            }
            match session.ask(&Request::MakeFolder { path: folder, mode: FOLDER_MODE }).done().await {
                Ok(()) => {}
                // Somebody else was faster.
                Err(_) if session.ask(&Request::LookBehind(folder)).attributes().await.is_ok() => {}
                Err(fault) => {
                    return Err(Error::from(fault).while_doing("cannot make the folder", folder).into());
                }
            }
        }
        self.require(session).await
    }

    /// What is known of an object.
    pub async fn find(&self, session: &Session, place: &Place<'_>) -> Asked<Attributes> {
        let found = session.ask(&Request::Look(&place.path)).attributes().await.map_err(missing)?;
        require_file(found)
    }

    /// A new file beside the place of an object; folders are made.
    pub async fn temporary(&self, session: &Session, folder: Option<&str>) -> Asked<Temporary> {
        let parent = self.path_of(folder);
        let parent = parent.trim_end_matches('/');
        for attempt in 0..ATTEMPTS {
            // Each RandomState has keys of its own, from the system's randomness: names need to be distinct, not secret.
            let path = format!("{parent}/{TEMPORARY_PREFIX}{:016x}", RandomState::new().hash_one(attempt));
            let flags = wire::OPEN_READ | wire::OPEN_WRITE | wire::OPEN_CREATE | wire::OPEN_EXCLUSIVE;
            let request = Request::Open { path: &path, flags, mode: Some(FILE_MODE) };
            match session.ask(&request).handle().await {
                Ok(handle) => return Ok(Temporary { path, handle }),
                Err(fault) if fault.has_code(wire::NO_SUCH_FILE) => {
                    self.make_folders(session, folder).await?
                }
                Err(fault) => return Err(self.explained(session, fault).await),
            }
        }
        Err(Error::new(Kind::NotFound, "the folder was removed while it was used:").on(parent).into())
    }

    /// Makes the folders that lead to `folder`.
    async fn make_folders(&self, session: &Session, folder: Option<&str>) -> Asked<()> {
        let Some(folder) = folder else { return self.require(session).await };
        let ends = folder.match_indices('/').map(|(end, _)| end).chain([folder.len()]);
        let paths: Vec<String> = ends.map(|end| self.path_of(Some(&folder[..end]))).collect();
        // All at once: the server does them in this order.
        let made: Vec<_> =
            paths.iter().map(|path| session.ask(&Request::MakeFolder { path, mode: FOLDER_MODE })).collect();
        for (path, made) in paths.iter().zip(made) {
            let Err(fault) = made.done().await else { continue };
            if let Fault::Ended(_) = fault {
                return Err(fault);
            }
            match session.ask(&Request::LookBehind(path)).attributes().await {
                Ok(found) if found.sort().is_none_or(|sort| sort == Sort::Folder) => {}
                Ok(_) => return Err(Error::invalid("an object is in the way of the folder", path).into()),
                Err(gone)
                    if gone.has_code(wire::NO_SUCH_FILE)
                        && (fault.has_code(wire::NO_SUCH_FILE) || fault.has_code(wire::FAILURE)) =>
                {
                    // Its parent, or itself, has been removed meanwhile; or there is no root, or no room.
                    self.require(session).await?;
                    if session.is_full(self.path(), 1).await {
                        return Err(full().into());
                    }
                }
                Err(gone) if gone.has_code(wire::NO_SUCH_FILE) => return Err(fault),
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// Removes a folder and those above it while they are empty. One that cannot be removed stays; it does no harm.
    pub async fn remove_empty_folders(&self, session: &Session, mut folder: Option<&str>) {
        while let Some(path) = folder {
            if session.ask(&Request::RemoveFolder(&self.path_of(folder))).done().await.is_err() {
                return;
            }
            folder = path.rsplit_once('/').map(|(parent, _)| parent);
        }
    }

    /// A failure that may come from a full disk, told as what it is.
    pub async fn explained(&self, session: &Session, fault: Fault) -> Fault {
        const NEEDED: u64 = 1 << 20;
        match fault {
            Fault::Status { code: wire::FAILURE, .. } if session.is_full(self.path(), NEEDED).await => {
                full().into()
            }
            other => other,
        }
    }
}

fn full() -> Error {
    Error::new(Kind::NoSpace, "no space left on the server")
}

/// Whatever is not there, or leads through something that is no folder.
pub(super) fn missing(fault: Fault) -> Fault {
    match fault.has_code(wire::NO_SUCH_FILE) {
        true => Error::new(Kind::NotFound, "no such object").into(),
        false => fault,
    }
}

/// That it is a regular file.
pub(super) fn require_file(found: Attributes) -> Asked<Attributes> {
    match found.sort() {
        None | Some(Sort::File) => Ok(found),
        Some(Sort::Folder) => Err(Error::new(Kind::NotFound, "no such object: it is a folder").into()),
        Some(Sort::Link | Sort::Other) => Err(Error::new(Kind::Unsupported, "neither a file nor a folder")
            .hint("links are not followed inside a storage; put the file itself there")
            .into()),
    }
}

/// Refuses a name that is taken, before bytes are sent for nothing; giving the name decides.
pub(super) async fn refuse_taken(session: &Session, target: &str) -> Asked<()> {
    match session.ask(&Request::Look(target)).attributes().await {
        Ok(found) => Err(taken(found).into()),
        Err(fault) if fault.has_code(wire::NO_SUCH_FILE) => Ok(()),
        Err(fault) => Err(fault),
    }
}

fn taken(found: Attributes) -> Error {
    match found.sort() {
        Some(Sort::Folder) => Error::invalid("a folder is in the way", ""),
        _ => Error::new(Kind::AlreadyExists, "there is already an object of this name"),
    }
}

/// Gives a temporary file its name. On success the temporary name is gone, or about to be by `leave_behind`.
pub(super) async fn publish(session: &Session, temporary: &str, target: &str, mode: PutMode) -> Asked<()> {
    let can = session.can();
    let done = match mode {
        PutMode::Replace if can.replace => session.replace(temporary, target).done().await,
        PutMode::Replace => rename_over(session, temporary, target).await,
        PutMode::CreateNew | PutMode::Unique if can.link => session.link(temporary, target).done().await,
        PutMode::CreateNew | PutMode::Unique => {
            refuse_taken(session, target).await?;
            session.ask(&Request::Rename { from: temporary, to: target }).done().await
        }
    };
    let Err(fault) = done else { return Ok(()) };
    let Fault::Status { code, .. } = fault else { return Err(fault) };
    match (session.ask(&Request::Look(target)).attributes().await, mode) {
        (Ok(found), PutMode::CreateNew | PutMode::Unique) => Err(taken(found).into()),
        (Ok(found), PutMode::Replace) if found.sort() == Some(Sort::Folder) => Err(taken(found).into()),
        (_, PutMode::CreateNew | PutMode::Unique)
            if can.link && code != wire::NO_SUCH_FILE && !session.is_full(temporary, 1).await =>
        {
            let error = Error::new(Kind::Unsupported, "this server cannot create a file whole, once");
            Err(error.because(Error::from(fault)).hint("its file system has no hard links").into())
        }
        _ => Err(fault),
    }
}

/// Where a server cannot rename over what is there: the old object goes first. In between, there is none.
async fn rename_over(session: &Session, temporary: &str, target: &str) -> Asked<()> {
    let rename = Request::Rename { from: temporary, to: target };
    let Err(fault) = session.ask(&rename).done().await else { return Ok(()) };
    match session.ask(&Request::Look(target)).attributes().await {
        Ok(found) if require_file(found).is_ok() => {
            // Both at once: the server does them in this order.
            let (removed, renamed) = (session.ask(&Request::Remove(target)), session.ask(&rename));
            removed.done().await?;
            renamed.done().await
        }
        _ => Err(fault),
    }
}

/// Whether two names are of one file: what is done to the times of one shows at the other.
pub(super) async fn is_same_file(session: &Session, one: &str, other: &str) -> Asked<bool> {
    let look = async |path: &str| session.ask(&Request::Look(path)).attributes().await;
    let (Some((accessed, modified)), Some(_)) = (look(one).await?.times, look(other).await?.times) else {
        return Ok(false);
    };
    let mark = modified ^ (1 + (RandomState::new().hash_one(one) as u32 & 0xffff));
    let set =
        async |modified: u32| session.ask(&Request::SetTimes { path: one, accessed, modified }).done().await;
    set(mark).await?;
    let seen = look(other).await;
    set(modified).await?;
    Ok(seen?.times.is_some_and(|(_, seen)| seen == mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_address_is_absolute_or_from_home() {
        for (path, root, object) in [
            ("/srv/backups/", "/srv/backups", "/srv/backups/a"),
            ("/", "/", "/a"),
            ("/~", ".", "./a"),
            ("/~/x y", "./x y", "./x y/a"),
            ("/~other", "/~other", "/~other/a"),
        ] {
            let found = Root::new(path).unwrap();
            assert_eq!((found.path(), found.path_of(Some("a")).as_str()), (root, object));
        }
        assert_eq!(Root::new("").err().unwrap().kind(), Kind::Invalid);
    }

    #[test]
    fn the_names_of_temporaries_are_reserved() {
        let root = Root::new("/r").unwrap();
        for text in [".icecore-tmp-1", "a/.icecore-tmp-/b", &"n".repeat(256)] {
            let name = ObjectName::new(text).unwrap();
            assert_eq!(root.place(&name).err().unwrap().kind(), Kind::Invalid, "{text}");
        }
        let name = ObjectName::new("a/b/c").unwrap();
        let place = root.place(&name).unwrap();
        assert_eq!((place.folder, place.path.as_str()), (Some("a/b"), "/r/a/b/c"));
    }
}
