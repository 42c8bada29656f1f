//! What is mounted where, as the kernel says it in `/proc/self/mountinfo`.
//!
//! Invariant: a line that is not understood is an error, not a mount that is not there.

use icecore::error::{Error, Result};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

const FILE: &str = "/proc/self/mountinfo";

/// A file system, or a part of one, in the place where it is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number.
    pub id: u64,
    /// Its device.
    pub device: (u32, u32),
    /// What of the file system is mounted: a folder in it.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// The type of file system.
    pub kind: String,
    /// What was mounted: mostly the name of a device.
    pub source: OsString,
}

/// All of them, in the order of the kernel.
///
/// # Errors
/// When the kernel does not say it, or not in this form.
pub fn all() -> Result<Vec<Mount>> {
    parse(&std::fs::read(FILE).map_err(|e| Error::io("cannot read", FILE, e))?)
}

/// The one that a path, without links in it, is on.
///
/// # Errors
/// When the path cannot be looked at; when no mount is the one.
pub fn of<'m>(mounts: &'m [Mount], path: &Path) -> Result<&'m Mount> {
    let shown = || path.display().to_string();
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)
        .map_err(|e| Error::io("cannot look at", shown(), e))?;
    let knows = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID);
    let mount = match knows {
        true => mounts.iter().find(|mount| mount.id == found.stx_mnt_id),
        false => nearest(mounts, path),
    };
    mount
        .ok_or_else(|| Error::new(icecore::Kind::NotFound, "nothing says where this is mounted:").on(shown()))
}

/// The one whose place is the longest part of the path; of several there, the last hides the others.
fn nearest<'m>(mounts: &'m [Mount], path: &Path) -> Option<&'m Mount> {
    let within = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    within.max_by_key(|mount| mount.point.components().count())
}

fn parse(text: &[u8]) -> Result<Vec<Mount>> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let shown = || String::from_utf8_lossy(line).into_owned();
            mount(line).ok_or_else(|| Error::damaged(format!("not understood in {FILE}:"), shown()))
        })
        .collect()
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut text = || fields.next().and_then(|field| std::str::from_utf8(field).ok());
    let id = text()?.parse().ok()?;
    text()?;
    let (major, minor) = text()?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let (root, point) = (unescaped(fields.next()?), unescaped(fields.next()?));
    // Behind the options there are any number of other fields, up to a dash.
    let mut fields = fields.skip(1).skip_while(|field| *field != b"-").skip(1);
    let kind = String::from_utf8(fields.next()?.to_vec()).ok()?;
    Some(Mount {
        id,
        device,
        root: root.into(),
        point: point.into(),
        kind,
        source: unescaped(fields.next()?),
    })
}

/// A name of which the kernel has written some bytes as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> OsString {
    let mut name = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, behind)) = rest.split_first() {
        let digits = behind
            .get(..3)
            .filter(|digits| byte == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        let value = digits.map(|digits| digits.iter().fold(0u32, |value, d| value * 8 + u32::from(d - b'0')));
        match value.and_then(|value| u8::try_from(value).ok()) {
            Some(value) => {
                name.push(value);
                rest = &behind[3..];
            }
            None => {
                name.push(byte);
                rest = behind;
            }
        }
    }
    OsString::from_vec(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/mapper/debian--vg-root rw\n\
        30 22 254:1 / /srv/a\\040b\\134c rw - xfs /dev/mapper/vg-data rw,attr2\n\
        31 22 254:1 /in\\011side /mnt rw master:2 propagate_from:3 - xfs /dev/mapper/vg-data rw\n\
        32 22 0:40 / /srv/a\\040b\\134c/tmp rw - tmpfs tmp\\043 rw\n";

    #[test]
    fn names_with_spaces_and_binds_of_folders_are_understood() {
        let mounts = parse(TEXT.as_bytes()).unwrap();
        let found: Vec<_> =
            mounts.iter().map(|m| (m.id, m.device, m.point.to_str().unwrap(), m.kind.as_str())).collect();
        let expected = [
            (22, (254, 0), "/", "ext4"),
            (30, (254, 1), "/srv/a b\\c", "xfs"),
            (31, (254, 1), "/mnt", "xfs"),
            (32, (0, 40), "/srv/a b\\c/tmp", "tmpfs"),
        ];
        assert_eq!(found, expected);
        assert_eq!(mounts[2].root, Path::new("/in\tside"));
        assert_eq!(
            (mounts[0].source.as_os_str(), mounts[3].source.as_os_str()),
            ("/dev/mapper/debian--vg-root".as_ref(), "tmp#".as_ref())
        );
        for (path, id) in [("/srv/a b\\c/x/y", 30), ("/srv/a b\\c", 30), ("/srv/a", 22), ("/mnt", 31)] {
            assert_eq!(nearest(&mounts, Path::new(path)).map(|mount| mount.id), Some(id), "{path}");
        }
    }

    #[test]
    fn the_kernels_own_list_has_what_this_test_runs_from() {
        let mounts = all().unwrap();
        let path = std::fs::canonicalize(".").unwrap();
        let found = of(&mounts, &path).unwrap();
        assert!(path.starts_with(&found.point), "{found:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200), line in "[0-9]{1,3} 1 8:1 / /[ -~]{0,20} rw - [a-z]{1,4} [ -~]{0,9}") {
            parse(&text).map(drop).unwrap_or(());
            parse(line.as_bytes()).map(drop).unwrap_or(());
        }
    }
}
