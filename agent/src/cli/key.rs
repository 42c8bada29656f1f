//! `icecore key`: the passwords that open a repository.

use super::{Context, RepositoryArguments, host_name, now};
use crate::password::{self, Given};
use crate::{output, seen};
use clap::{Args, Subcommand};
use icecore::error::{Error, Kind, Result};
use icecore::repository::vault::{ObjectId, Password, Slot, Vault};
use icecore::time::Timestamp;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Fewest digits that pick a key.
const PREFIX_MIN: usize = 4;
/// Digits of a key's id that are shown.
const SHOWN_DIGITS: usize = 12;

/// List, add and remove the passwords that open a repository
///
/// Each password has a key of its own; any of them opens everything. Whoever
/// once had a password may have kept what it opens: removing a key stops
/// those who never used it.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the keys.
    List(List),
    /// Add a password.
    Add(New),
    /// Remove a key by its id, or the head of it; never the last one.
    Remove(Remove),
    /// Change the password: adds the new one, then removes the key that the old one opened.
    Passwd(New),
}

impl Action {
    fn repository(&self) -> &RepositoryArguments {
        match self {
            Action::List(list) => &list.repository,
            Action::Add(new) | Action::Passwd(new) => &new.repository,
            Action::Remove(remove) => &remove.repository,
        }
    }
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    repository: RepositoryArguments,
}

#[derive(Args)]
struct Remove {
    #[command(flatten)]
    repository: RepositoryArguments,
    /// Which key
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Args)]
struct New {
    #[command(flatten)]
    repository: RepositoryArguments,
    /// Read the new password from this file [default: it is asked for]
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// What to call the key [default: the name of this machine; of a changed password, what its key was called]
    #[arg(long)]
    label: Option<String>,
}

/// Does what was asked for.
pub fn run(context: &Context<'_>, arguments: &Arguments) -> Result<ExitCode> {
    let repository = arguments.action.repository().open(context)?;
    let vault = repository.the_vault()?;
    if !vault.is_encrypted() {
        return Err(Error::invalid(
            "not encrypted, so that it has no passwords:",
            repository.storage().label(),
        ));
    }
    if !matches!(arguments.action, Action::List(_)) {
        arguments.action.repository().heal(context, &repository)?;
    }
    match &arguments.action {
        Action::List(_) => list(context, vault)?,
        Action::Add(new) => {
            let id = add(context, new, None, vault)?;
            say(context, "added", id);
        }
        Action::Remove(remove) => {
            let id = find(&vault.slots()?, &remove.id)?;
            vault.remove_slot(id)?;
            say(context, "removed", id);
        }
        Action::Passwd(new) => {
            let current = vault.slots()?.into_iter().find(|slot| slot.is_current);
            let label = current.as_ref().map(|slot| slot.label.clone());
            let id = add(context, new, label, vault)?;
            say(context, "added", id);
            if let Some(old) = current {
                vault.remove_slot(old.id)?;
                say(context, "removed", old.id);
            }
        }
    }
    // What was removed is remembered, too.
    seen::look(context, &repository, seen::Strictness::Warn)?;
    Ok(ExitCode::SUCCESS)
}

fn list(context: &Context<'_>, vault: &Vault) -> Result<()> {
    let slots = vault.slots()?;
    if context.global.json {
        for slot in &slots {
            output::json(&json!({
                "type": "key",
                "id": slot.id.to_string(),
                "label": slot.label,
                "created": slot.created.0,
                "time": slot.created.rfc3339(),
                "current": slot.is_current,
            }));
        }
        return Ok(());
    }
    let mut rows = vec![["ID", "CREATED", "LABEL", ""].map(str::to_owned).to_vec()];
    rows.extend(slots.iter().map(|slot| {
        let note = if slot.is_current { "in use" } else { "" };
        vec![short(slot.id), slot.created.rfc3339(), output::printable(&slot.label), note.to_owned()]
    }));
    output::table(&rows).iter().for_each(|line| output::answer(line));
    Ok(())
}

fn add(context: &Context<'_>, new: &New, label: Option<String>, vault: &Vault) -> Result<ObjectId> {
    let password: Password = match &new.new_password_file {
        Some(file) => password::from_file(file)?,
        None => new.repository.new_password(context, Given::ByHand)?,
    };
    let label = new.label.clone().or(label).unwrap_or_else(host_name);
    vault.add_slot(&password, &label, Timestamp(now().seconds))
}

fn find(slots: &[Slot], text: &str) -> Result<ObjectId> {
    let hint = "icecore key list shows the keys";
    let prefix = text.to_ascii_lowercase();
    let matches: Vec<ObjectId> =
        slots.iter().map(|slot| slot.id).filter(|id| id.to_string().starts_with(&prefix)).collect();
    match matches.as_slice() {
        _ if prefix.len() < PREFIX_MIN => {
            Err(Error::invalid("too little of an id:", text)
                .hint(format!("type {PREFIX_MIN} digits or more")))
        }
        [] => Err(Error::new(Kind::NotFound, "no key").on(text).hint(hint)),
        [one] => Ok(*one),
        _ => Err(Error::invalid("several keys match", text).hint("type more of the id")),
    }
}

fn say(context: &Context<'_>, what: &str, id: ObjectId) {
    if context.global.json {
        output::json(&json!({"type": "key", "action": what, "id": id.to_string()}));
    } else {
        output::line(context.global, &format!("{what} key {}", short(id)));
    }
}

fn short(id: ObjectId) -> String {
    id.to_string().chars().take(SHOWN_DIGITS).collect()
}
