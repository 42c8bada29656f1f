//! The verb `dump`: the bytes of a file of a backup, or a directory as an archive. Every chunk is verified before it is written, and
//! nothing outgrows memory, however much it is.

mod tar;
mod zip;

use crate::engine::dedup::tree::Entry;
use crate::error::{Error, Kind, Result};
use crate::keyring::Keyring;
use crate::monitor::{Event, Monitor};
use crate::repository::Repository;
use crate::select::place::Place;
use crate::spool::Scratch;
use crate::tree::attributes::FileKind;
use crate::tree::directory::lossy;
use crate::view::content::{self, Contents, Piece, ZEROS};
use crate::view::levels::{Level, Means};
use crate::view::{self, Backup, Either, Named, View, Which, tell_unless_whole};
use std::io::Write;

/// How what was asked for is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A tar archive, as GNU tar reads it, with all that a backup keeps.
    Tar,
    /// A zip archive, as Info-ZIP reads it. What it cannot hold is told.
    Zip,
}

/// What to write, and how.
pub struct Options<'a> {
    /// Which backups count.
    pub which: Which,
    /// Which one, and where in it.
    pub place: Place,
    /// As what; without one, a file as it is and a directory as `directory_form` says.
    pub form: Option<Form>,
    /// As what a directory is written where nothing is asked for.
    pub directory_form: Form,
    /// Whether an archive may be written: not where somebody reads along.
    pub archives: bool,
    /// Threads that read.
    pub workers: usize,
    /// Where the directory of a zip archive waits, and a file of a chain while it is made.
    pub scratch: &'a Scratch,
    /// What opens encrypted levels.
    pub keys: &'a Keyring<'a>,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Report {
    /// The backup.
    pub backup: Named,
    /// Entries.
    pub entries: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Entries that are not there, since the archive cannot hold them. Each was told.
    pub left_out: u64,
}

/// Writes to `out`. After an error what was written is not the whole.
///
/// # Errors
/// `NotFound`, `Invalid` (which backup? what has no bytes), `Unsupported` for anything but a file of a backup that is not deduplicated;
/// `Damaged`, or as the storage and `out` have it.
pub fn run(
    repository: &Repository,
    options: &Options<'_>,
    monitor: &dyn Monitor,
    out: &mut dyn Write,
) -> Result<Report> {
    let (backup, index) = match view::choose_either_at(repository, &options.which, &options.place, monitor)? {
        Either::Snapshot(backup, index) => (*backup, index),
        Either::Level { chain, entry } => {
            let means = Means { keys: options.keys, scratch: options.scratch, workers: options.workers };
            let mut level = Level::open(repository, &chain, entry, means, monitor)?;
            return of_level(&mut level, options, out);
        }
    };
    let view = View::open(repository, index, monitor)?;
    let path = options.place.path.as_slice();
    let top = view.entry(&backup, path)?;
    if top.is_unread() {
        return Err(content::unread().on(lossy(path)));
    }
    let as_it_is = options.form.is_none() && top.kind == FileKind::File;
    if as_it_is {
        tell_unless_whole(path, &top, monitor);
        let mut contents = Contents::new(&view, options.workers, monitor);
        contents.read(&top, &mut |piece| write(piece, out))?;
        monitor.event(Event::Entry { path, bytes: top.size_bytes });
        return Ok(Report { backup: backup.named(), entries: 1, bytes: top.size_bytes, left_out: 0 });
    }
    if options.form.is_none() && top.kind != FileKind::Directory {
        return Err(Error::invalid("neither a file nor a directory:", lossy(path))
            .hint("ask for an archive of it: --format tar"));
    }
    if !options.archives {
        return Err(Error::new(Kind::Invalid, "an archive is no text for a terminal; not written:")
            .on(lossy(path))
            .hint("send it elsewhere: icecore dump … > FILE, | tar -t, or -o FILE"));
    }
    let part = Part { view: &view, backup: &backup, top: path, workers: options.workers, monitor };
    let Written { entries, bytes, left_out } = match options.form.unwrap_or(options.directory_form) {
        Form::Tar => tar::write(&part, out)?,
        Form::Zip => zip::write(&part, options.scratch, out)?,
    };
    Ok(Report { backup: backup.named(), entries, bytes, left_out })
}

/// Writes a file of a level.
fn of_level(level: &mut Level<'_>, options: &Options<'_>, out: &mut dyn Write) -> Result<Report> {
    let path = options.place.path.as_slice();
    if options.form.is_some() {
        return Err(Error::new(Kind::Unsupported, "archives are made of deduplicated backups only, not of")
            .on(level.named().id.short())
            .hint("restore it to a folder: icecore restore --target FOLDER BACKUP:PATH"));
    }
    let bytes = level.write_file(path, out)?;
    Ok(Report { backup: level.named().clone(), entries: 1, bytes, left_out: 0 })
}

/// What goes into an archive: the entry at `top` of a backup, and everything below it.
struct Part<'v> {
    view: &'v View<'v>,
    backup: &'v Backup,
    top: &'v [u8],
    workers: usize,
    monitor: &'v dyn Monitor,
}

/// What went into an archive.
#[derive(Default)]
struct Written {
    entries: u64,
    bytes: u64,
    left_out: u64,
}

impl Written {
    /// Whether an entry has no content in the backup, which is told and counted.
    fn leaves_out_unread(&mut self, path: &[u8], entry: &Entry, monitor: &dyn Monitor) -> bool {
        if entry.is_unread() {
            let path = lossy(path);
            let error = content::unread().on(path.clone());
            monitor.event(Event::Problem { path: &path, error: &error, lost: true });
            self.left_out += 1;
        }
        entry.is_unread()
    }
}

impl Part<'_> {
    /// What an entry is called in the archive, but for what forms put around it: its path from the directory that was asked for;
    /// nothing for that directory, and for anything else that was asked for its name.
    fn name_of<'p>(&self, path: &'p [u8], entry: &Entry) -> &'p [u8] {
        if path == self.top && entry.kind != FileKind::Directory {
            return path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        }
        let below = path.strip_prefix(self.top).unwrap_or(path);
        below.strip_prefix(b"/").unwrap_or(below)
    }
}

/// Writes a part of a file; a hole as zeros.
fn write(piece: Piece<'_>, out: &mut dyn Write) -> Result<()> {
    let written = match piece {
        Piece::Data(bytes) => out.write_all(bytes),
        Piece::Hole(bytes) => write_zeros(bytes, out),
    };
    written.map_err(|e| Error::io("cannot write", "what was asked for", e))
}

fn write_zeros(mut bytes: u64, out: &mut dyn Write) -> std::io::Result<()> {
    while bytes > 0 {
        let now = ZEROS.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        out.write_all(&ZEROS[..now])?;
        bytes -= now as u64;
    }
    Ok(())
}
